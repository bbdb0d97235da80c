// The lab's Git server as a process. usage: node git-main.ts ROOT PORT
import { startGitHttp } from "./git-http.ts";

const [, , repositories = "", port = "0"] = process.argv;
await startGitHttp({ root: repositories, port: Number(port) });
