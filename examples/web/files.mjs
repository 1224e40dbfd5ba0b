// Following a project's files and its repository: the sample of docs/GIT_AND_FILES.md. tests/clients/samples.test.js
// runs it.
//
// Guarantees: after each connect the server looks, and tells what changes.

/** Follows a project over a `socket` that connects. */
export function follow({ socket, projectId }) {
  socket.on("connect", async () => {
    await socket.emitWithAck("subscribe", { channel: `project:${projectId}`, snapshot: true });
    await socket.emitWithAck("fs.watch", { projectId });
  });
}
