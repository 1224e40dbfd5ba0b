// The server that the tests of the protocol meet: Tidings, or Node's own socket.io as a control.
//
// Guarantees: both are spoken to in the same way; what was started is ended by `stop`.
// It is not a mock: Tidings is the built binary, the control is the published reference (see `reference.js`).
import { Server, until } from "../server.js";
import { startReference } from "./reference.js";

/** Whether the tests run against the reference, to see that they ask for nothing that it does not do. */
export const IS_REFERENCE = process.env.PROTOCOL_TARGET === "reference";

/** The shortest heartbeat that Tidings can be configured to, in milliseconds. */
export const SHORT = { pingInterval: 1000, pingTimeout: 1000 };
/** A heartbeat that disturbs no test that is about something else. */
export const LONG = { pingInterval: 15_000, pingTimeout: 10_000 };

/** For `test`: what the reference does otherwise, and that it may. */
export function notOfTheReference(why) {
  return IS_REFERENCE ? { skip: `the reference differs: ${why}` } : {};
}

/**
 * Starts a server. `connectTimeout` is how long a client may be silent before its CONNECT, and `origins` are those of
 * pages that may use it; `socket` are further keys of Tidings' own section. Gives `{url, heartbeat, good, wrong, expired, revoked, stop}` with four tokens.
 */
export function start({ heartbeat = LONG, connectTimeout, origins = [], socket = {} } = {}) {
  if (IS_REFERENCE) return startReference({ heartbeat, connectTimeout, origins });
  return startTidings({ heartbeat, connectTimeout, origins, socket });
}

async function startTidings({ heartbeat, connectTimeout, origins, socket }) {
  const lines = [
    "[socket]",
    `ping_interval_ms = ${heartbeat.pingInterval}`,
    `ping_timeout_ms = ${heartbeat.pingTimeout}`,
    ...(connectTimeout ? [`connect_timeout_ms = ${connectTimeout}`] : []),
    ...Object.entries(socket).map(([key, value]) => `${key} = ${value}`),
    "[http]",
    `cors_origins = ${JSON.stringify(origins)}`,
  ];
  const server = await Server.start({ config: `${lines.join("\n")}\n` });
  const expired = await server.token({ user: "late", roles: ["admin"], ttl: "1s" });
  const { token: revoked } = await server.login("admin", server.password);
  await server.http("POST", "/api/auth/logout", { token: revoked });
  const isOver = async () => (await server.http("GET", "/api/auth/me", { token: expired })).status === 401;
  await until(isOver, "the token to expire");
  return {
    server,
    heartbeat,
    expired,
    revoked,
    url: server.url,
    good: await server.admin(),
    wrong: "nonsense",
    stop: () => server.stop(),
  };
}
