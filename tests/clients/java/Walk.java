import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Socket;
import io.socket.emitter.Emitter;
import java.net.URI;
import java.util.Collections;
import java.util.concurrent.CountDownLatch;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * The walk of socket.io-client-java: see ../matrix/walk.js.
 *
 * <p>Guarantees: one JSON object a line on standard output; exit code 0 only at the end of the walk.
 * It is not a test: the driver judges.
 */
public final class Walk {
    /** What a listener does; the library's JSON throws. */
    private interface Step {
        void take(Object[] arguments) throws JSONException;
    }

    private final JSONObject walk;
    private volatile Object epoch;
    private volatile long seq;

    private Walk(JSONObject walk) {
        this.walk = walk;
    }

    private static Emitter.Listener on(Step step) {
        return arguments -> {
            try {
                step.take(arguments);
            } catch (JSONException error) {
                throw new IllegalStateException(error);
            }
        };
    }

    private static Ack answer(Step step) {
        return arguments -> on(step).call(arguments);
    }

    private static synchronized void say(String name, JSONObject rest) throws JSONException {
        System.out.println(rest.put("say", name));
    }

    private Socket open(String token, boolean reconnects) throws JSONException {
        IO.Options options = new IO.Options();
        options.forceNew = true;
        options.reconnection = reconnects;
        options.reconnectionDelay = 50;
        options.reconnectionDelayMax = 500;
        options.auth = Collections.singletonMap("token", token);
        JSONArray transports = walk.getJSONArray("transports");
        options.transports = new String[transports.length()];
        for (int n = 0; n < transports.length(); n += 1) {
            options.transports[n] = transports.getString(n);
        }
        return IO.socket(URI.create(walk.getString("url")), options);
    }

    /** Waits for the refusal of a wrong token, and says it. */
    private void refused() throws JSONException, InterruptedException {
        long began = System.nanoTime();
        CountDownLatch told = new CountDownLatch(1);
        Socket socket = open(walk.getString("wrong"), false);
        socket.once(Socket.EVENT_CONNECT_ERROR, on(arguments -> {
            JSONObject said = new JSONObject().put("afterMs", (System.nanoTime() - began) / 1_000_000);
            if (arguments[0] instanceof JSONObject) {
                JSONObject error = (JSONObject) arguments[0];
                said.put("message", error.opt("message")).put("data", error.opt("data"));
            } else {
                said.put("message", String.valueOf(arguments[0]));
            }
            say("refused", said);
            told.countDown();
        }));
        socket.on(Socket.EVENT_CONNECT, on(arguments -> say("failed", new JSONObject().put("message", "a wrong token was let in"))));
        socket.connect();
        told.await();
        socket.disconnect();
    }

    /** Follows the channel from the beginning, from where it was after each reconnect, up to the last note. */
    private void follow() throws JSONException, InterruptedException {
        CountDownLatch done = new CountDownLatch(1);
        Socket socket = open(walk.getString("token"), true);
        socket.on(Socket.EVENT_CONNECT, on(arguments -> subscribe(socket)));
        socket.on("message", on(arguments -> take(socket, (JSONObject) arguments[0], done)));
        socket.connect();
        done.await();
        socket.disconnect();
    }

    private void subscribe(Socket socket) throws JSONException {
        JSONObject since = new JSONObject().put("seq", seq).putOpt("epoch", epoch);
        JSONObject request = new JSONObject().put("channel", walk.get("channel")).put("since", since);
        socket.emit("subscribe", new Object[] {request}, answer(arguments -> {
            JSONObject said = (JSONObject) arguments[0];
            say("subscribed", new JSONObject().put("answer", said));
            epoch = said.get("epoch");
        }));
    }

    private void take(Socket socket, JSONObject message, CountDownLatch done) throws JSONException {
        JSONObject data = message.getJSONObject("data");
        if (message.getString("type").equals("server.hello")) {
            say("hello", new JSONObject().put("data", data));
        }
        // A notice about the channel has no number.
        if (!walk.getString("channel").equals(message.optString("channel")) || !message.has("seq")) {
            return;
        }
        seq = message.getLong("seq");
        int n = data.getInt("n");
        say("note", new JSONObject().put("n", n).put("seq", seq));
        if (n == walk.getInt("live")) {
            Object[] publication = {walk.getJSONObject("publication")};
            socket.emit("publish", publication, answer(arguments -> say("published", new JSONObject().put("answer", arguments[0]))));
        }
        if (n == walk.getInt("last")) {
            done.countDown();
        }
    }

    public static void main(String[] arguments) throws JSONException, InterruptedException {
        Walk walk = new Walk(new JSONObject(System.getenv("WALK")));
        walk.refused();
        walk.follow();
        say("done", new JSONObject());
        System.exit(0);
    }
}
