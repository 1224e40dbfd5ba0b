import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Socket;
import java.net.URI;
import java.util.Collections;
import java.util.concurrent.CountDownLatch;
import org.json.JSONArray;
import org.json.JSONObject;

/**
 * The walk of socket.io-client-java: see ../matrix/walk.js.
 *
 * <p>Guarantees: one JSON object a line on standard output; exit code 0 only at the end of the walk.
 * It is not a test: the driver judges.
 */
public final class Walk {
    private static final JSONObject WALK = new JSONObject(System.getenv("WALK"));

    private volatile Object epoch;
    private volatile long seq;

    private static synchronized void say(String name, JSONObject rest) {
        System.out.println(rest.put("say", name));
    }

    private static Socket open(String token, boolean reconnects) {
        IO.Options options = new IO.Options();
        options.forceNew = true;
        options.reconnection = reconnects;
        options.reconnectionDelay = 50;
        options.reconnectionDelayMax = 500;
        options.auth = Collections.singletonMap("token", token);
        JSONArray transports = WALK.getJSONArray("transports");
        options.transports = transports.toList().toArray(new String[0]);
        return IO.socket(URI.create(WALK.getString("url")), options);
    }

    /** Waits for the refusal of a wrong token, and says it. */
    private static void refused() throws InterruptedException {
        long began = System.nanoTime();
        CountDownLatch told = new CountDownLatch(1);
        Socket socket = open(WALK.getString("wrong"), false);
        socket.once(Socket.EVENT_CONNECT_ERROR, arguments -> {
            JSONObject said = new JSONObject().put("afterMs", (System.nanoTime() - began) / 1_000_000);
            if (arguments[0] instanceof JSONObject) {
                JSONObject error = (JSONObject) arguments[0];
                said.put("message", error.opt("message")).put("data", error.opt("data"));
            } else {
                said.put("message", String.valueOf(arguments[0]));
            }
            say("refused", said);
            told.countDown();
        });
        socket.on(Socket.EVENT_CONNECT, arguments -> say("failed", new JSONObject().put("message", "a wrong token was let in")));
        socket.connect();
        told.await();
        socket.disconnect();
    }

    /** Follows the channel from the beginning, from where it was after each reconnect, up to the last note. */
    private void follow() throws InterruptedException {
        CountDownLatch done = new CountDownLatch(1);
        Socket socket = open(WALK.getString("token"), true);
        socket.on(Socket.EVENT_CONNECT, arguments -> {
            JSONObject since = new JSONObject().put("seq", seq).putOpt("epoch", epoch);
            JSONObject request = new JSONObject().put("channel", WALK.get("channel")).put("since", since);
            socket.emit("subscribe", new Object[] {request}, (Ack) answers -> {
                JSONObject answer = (JSONObject) answers[0];
                say("subscribed", new JSONObject().put("answer", answer));
                epoch = answer.get("epoch");
            });
        });
        socket.on("message", arguments -> {
            JSONObject message = (JSONObject) arguments[0];
            JSONObject data = message.getJSONObject("data");
            if (message.getString("type").equals("server.hello")) {
                say("hello", new JSONObject().put("data", data));
            }
            // Not a notice, such as that the client is behind for a moment.
            if (!WALK.getString("channel").equals(message.optString("channel")) || !message.has("seq")) {
                return;
            }
            seq = message.getLong("seq");
            int n = data.getInt("n");
            say("note", new JSONObject().put("n", n).put("seq", seq));
            if (n == WALK.getInt("live")) {
                Object[] publication = {WALK.getJSONObject("publication")};
                socket.emit("publish", publication, (Ack) answers -> say("published", new JSONObject().put("answer", answers[0])));
            }
            if (n == WALK.getInt("last")) {
                done.countDown();
            }
        });
        socket.connect();
        done.await();
        socket.disconnect();
    }

    public static void main(String[] arguments) throws InterruptedException {
        refused();
        new Walk().follow();
        say("done", new JSONObject());
        System.exit(0);
    }
}
