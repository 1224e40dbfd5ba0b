// Logging in once, and staying so: the sample of docs/PROTOCOL.md. tests/clients/samples.test.js runs it.
//
// Guarantees: a token is asked for only when one is needed; whoever cannot be logged in any more is told.

/** A connection of this user, by any version of socket.io-client. `ended` is called when the password is needed again. */
export async function connected({ io, url, username, password, ended }) {
  const post = async (path, body) => {
    const headers = { "content-type": "application/json" };
    const response = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) throw Object.assign(new Error(answer.message), { status: response.status });
    return answer;
  };
  let login = await post("/api/auth/login", { username, password });
  const fresh = async () => {
    if (Date.parse(login.expiresAt) - Date.now() < 90_000)
      login = await post("/api/auth/refresh", { refreshToken: login.refreshToken });
    return login.token;
  };
  const again = () => socket.disconnect().connect();
  const later = () => socket.active && again(); // unless it was closed meanwhile
  const failed = ({ status }) => (status === 401 ? ended(socket.close()) : setTimeout(later, 1000));
  const socket = io(url, { auth: (give) => fresh().then((token) => give({ token }), failed) });
  socket.on("message", ({ type }) => {
    if (type === "auth.expiring") fresh().then((token) => socket.emit("auth.refresh", { token }, () => {}), failed);
  });
  socket.on("connect_error", ({ message, data }) => {
    if (data?.code === "overloaded") setTimeout(again, 5000); // the server is full
    else if (message === "Authentication error") { login.expiresAt = 0; again(); } // this clock is slow
  });
  socket.on("disconnect", (reason) => {
    if (reason === "io server disconnect") ended(); // for good: revoked, disabled, logged out
  });
  return socket;
}
