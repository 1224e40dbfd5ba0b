// Repositories for tests, made by the command git, and what the kernel says of the server.
//
// Guarantees: nothing of the configuration of whoever runs the tests reaches the repositories; paths are of the
// test's own directories.
// It is not the server's git: that is what is tested.
import { execFile } from "node:child_process";
import { mkdir, readFile, readdir, readlink, writeFile } from "node:fs/promises";
import net from "node:net";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const PERSON = { GIT_AUTHOR_NAME: "Ada", GIT_AUTHOR_EMAIL: "ada@example.com", GIT_COMMITTER_NAME: "Ada", GIT_COMMITTER_EMAIL: "ada@example.com" };
const ENVIRONMENT = { PATH: process.env.PATH, LC_ALL: "C", GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null", ...PERSON };

/** The part of the server's configuration that tests of git need. */
export const CONFIG = `[git]
protocols = ["file", "http"]
[run]
grace_ms = 500
set = { ${Object.entries({ ...PERSON, GIT_CONFIG_GLOBAL: "/dev/null" }).map(([name, value]) => `${name} = "${value}"`).join(", ")} }
`;

/** Runs git in a directory; gives what it printed. */
export async function git(cwd, ...words) {
  const { stdout } = await promisify(execFile)("git", words, { cwd, env: ENVIRONMENT, maxBuffer: 1 << 26 });
  return stdout.trim();
}

/** Writes files below a directory. */
export async function write(root, files) {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  }
}

/** A repository with one commit of these files. */
export async function repository(root, files = { "a.txt": "one\n" }) {
  await git(root, "init", "-q", "-b", "main");
  await write(root, files);
  await git(root, "add", "--all");
  await git(root, "commit", "-qm", "first");
  return root;
}

/** A bare repository with one commit of these files. */
export async function bare(server, files) {
  const [work, remote] = [await server.directory(), await server.directory()];
  await repository(work, files);
  await git(remote, "clone", "-q", "--bare", work, ".");
  return remote;
}

/** A remote that takes connections and never says a word. */
export async function silent(t) {
  const ends = new Set();
  const listening = net.createServer((socket) => {
    ends.add(socket);
    socket.on("error", () => {});
  });
  await new Promise((resolve) => listening.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const end of ends) end.destroy();
    listening.close();
  });
  return { url: `http://127.0.0.1:${listening.address().port}/never.git`, connected: () => ends.size > 0 };
}

/** A project around a directory. */
export async function project(server, root) {
  const body = { name: root.slice(-20), root };
  const made = await server.http("POST", "/api/projects", { token: await server.admin(), body });
  if (made.status !== 201) throw new Error(JSON.stringify(made.body));
  return { projectId: made.body.projectId, channel: `project:${made.body.projectId}`, root };
}

/** The descriptors of a process, by what they are of. */
export async function descriptors(pid) {
  const names = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).then((link) => [name, link], () => null)));
  return links.filter(Boolean);
}

/** How many directories a process watches. */
export async function watches(pid) {
  let count = 0;
  for (const [name, link] of await descriptors(pid)) {
    if (!link.includes("inotify")) continue;
    const info = await readFile(`/proc/${pid}/fdinfo/${name}`, "utf8").catch(() => "");
    count += info.split("\n").filter((line) => line.startsWith("inotify wd:")).length;
  }
  return count;
}

/** The memory that a process does not share with files, in bytes. */
export async function memory(pid) {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(status.match(/RssAnon:\s+(\d+) kB/)[1]) * 1024;
}

/** The processes whose command line has this text. */
export async function processes(text) {
  const found = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (line.replaceAll("\0", " ").includes(text)) found.push(`${pid} ${line.replaceAll("\0", " ")}`);
  }
  return found;
}

/** The processes that a process started and that have not ended. */
export async function children(pid) {
  const tasks = await readdir(`/proc/${pid}/task`);
  const lists = await Promise.all(tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, "utf8").catch(() => "")));
  return lists.flatMap((list) => list.split(" ").filter(Boolean));
}
