// The program of one rendering thread: it answers tasks one after the other and has no other purpose.
// What it keeps between two tasks is the checked form of templates, which no rendering can change.
import { parentPort } from "node:worker_threads";
import { CapitanError, isCapitanError, messageOf } from "../errors/index.ts";
import { compileTemplate, layerShape, renderAll } from "../template/index.ts";
import { ready, type Answer, type Outcome, type Task } from "./messages.ts";
import { TemplateCache } from "./template-cache.ts";

/** Characters of templates whose checked form a thread keeps. */
const cachedCharsMax = 4 * 1024 * 1024;

const cache = new TemplateCache(cachedCharsMax, (text, file) =>
  compileTemplate(text, file, layerShape),
);

function answer({ templates, contexts }: Task): Answer {
  return contexts.map((context) => {
    try {
      const compiled = templates.map(({ file, text }) => cache.get(text, file));
      return { kind: "rendered", texts: renderAll(compiled, context) };
    } catch (error) {
      return refusal(error);
    }
  });
}

function refusal(error: unknown): Outcome {
  const { code, message } = isCapitanError(error) ? error : unforeseen(error);
  return { kind: "refused", code, message };
}

/** A stack that is used up is a value that goes too deep; anything else is a mistake of ours. */
function unforeseen(error: unknown): CapitanError {
  return error instanceof RangeError
    ? new CapitanError("TemplateTooLarge", "a value is nested too deeply to be written")
    : new CapitanError("InternalError", `rendering: ${messageOf(error)}`);
}

parentPort?.on("message", (task: Task) => parentPort?.postMessage(answer(task)));
parentPort?.postMessage(ready);
