// Publishes one file as a process of its own, so that it can be killed. usage: URL CACHE PATH CONTENT
import { openGit } from "./git.ts";

const [url = "", cache = "", path = "", content = ""] = process.argv.slice(2);
const published = await openGit(url, cache).publish(
  {
    branch: "main",
    author: { name: "Ada", email: "ada@example.test" },
    now: new Date(),
    propose: () => ({ edits: [{ path, content: Buffer.from(content) }], message: `Write ${path}` }),
  },
  AbortSignal.timeout(60_000),
);
process.stdout.write(`${JSON.stringify(published)}\n`);
