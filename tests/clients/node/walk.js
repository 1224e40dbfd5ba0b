// The walk of socket.io-client in Node, in the version that WALK_VERSION names.
//
// Guarantees: one JSON object a line on standard output; exit code 0 only at the end of the walk.
// It is not a test: see ../matrix/walk.js.
import { createRequire } from "node:module";

import { steps } from "./steps.js";

const require = createRequire(import.meta.url);
const library = require(`sio-${process.env.WALK_VERSION}`);
const say = (name, rest) => console.log(JSON.stringify({ say: name, ...rest }));

await steps(library.io ?? library, JSON.parse(process.env.WALK), {}, say);
say("done");
