import { isUtf8 } from "node:buffer";
import { CapitanError, isCapitanError, messageOf } from "../errors/index.ts";
import { isTemplatePath, renderedPaths, type LayerContext } from "../template/index.ts";
import { FairQueue } from "./fair-queue.ts";
import type { Outcome, Task } from "./messages.ts";
import { Thread, type ThreadLimits } from "./thread.ts";

/** Files by their path in the layer. */
export type Files = ReadonlyMap<string, Uint8Array>;

export type RenderRequest = {
  /** Who is served in turns: namespace and name of the Fleet. */
  readonly key: string;
  readonly files: Files;
  /** One per cluster. */
  readonly contexts: readonly LayerContext[];
};

export type RendererOptions = Partial<ThreadLimits> & {
  /** Threads at most; each is started when it is first needed. */
  readonly workers?: number;
  /** Tasks of up to sixteen clusters that wait, at most. */
  readonly waitingMax?: number;
};

/** Clusters that a thread is given at once: enough to make sending the templates cheap. */
const contextsPerTask = 16;
/** After so many clusters that had to be stopped alone, the templates are to blame for all. */
const stoppedMax = 3;

/** What came of one cluster; an error when its thread had to be stopped. */
type Result = Outcome | CapitanError;

type Job = {
  readonly key: string;
  readonly task: Task;
  /** Shared by all jobs of a request. */
  readonly request: { stopped: number; failure?: CapitanError };
  /** Called once, with one result per context of the task. */
  readonly finish: (results: readonly Result[]) => void;
};

/**
 * Renders the templates of layers in threads, so that no template can slow down, exhaust or see more
 * than itself. Files that are no templates go as they are. Close it, or its threads stay.
 */
export class Renderer {
  readonly #threads: readonly Thread[];
  readonly #free: Thread[];
  readonly #queue: FairQueue<Job>;
  #isClosed = false;

  constructor(options: RendererOptions = {}) {
    const { workers = 2, waitingMax = 10_000, timeMsMax = 5_000, memoryMbMax = 96 } = options;
    this.#threads = Array.from({ length: workers }, () => new Thread({ timeMsMax, memoryMbMax }));
    this.#free = [...this.#threads];
    this.#queue = new FairQueue(workers, waitingMax);
  }

  /**
   * The files of each cluster, or why it has none, in the order of the contexts: InputMissing,
   * InputInvalid, TemplateInvalid, TemplateTooLarge. Throws TemplateInvalid when two files become one
   * or a template is no text, RendererBusy when too much waits.
   */
  async render({
    key,
    files,
    contexts,
  }: RenderRequest): Promise<readonly (Files | CapitanError)[]> {
    const names = renderedPaths(files.keys());
    const templates = templatesOf(files);
    const results = await this.#results(key, { templates, contexts });
    return results.map((result) => {
      if (isCapitanError(result)) return result;
      if (result.kind === "refused") return new CapitanError(result.code, result.message);
      const rendered = templates.map(
        ({ file }, i) => [file, Buffer.from(result.texts[i] ?? "")] as const,
      );
      const contents = new Map<string, Uint8Array>([...files, ...rendered]);
      return new Map([...contents].map(([path, content]) => [names.get(path) ?? path, content]));
    });
  }

  /** Ends the threads; what still waits or runs is RendererBusy. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const job of this.#queue.clear()) finishAll(job, closing());
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  async #results(key: string, { templates, contexts }: Task): Promise<readonly Result[]> {
    if (templates.length === 0) return contexts.map(() => ({ kind: "rendered", texts: [] }));
    const count = Math.ceil(contexts.length / contextsPerTask);
    if (this.#isClosed) throw closing();
    if (!this.#queue.hasRoom(count))
      throw new CapitanError("RendererBusy", "too much waits to be rendered");
    const request = { stopped: 0 };
    const parts = Array.from({ length: count }, (_, i) => {
      const slice = contexts.slice(i * contextsPerTask, (i + 1) * contextsPerTask);
      return this.#queued({ key, task: { templates, contexts: slice }, request });
    });
    this.#dispatch();
    return (await Promise.all(parts)).flat();
  }

  #queued(job: Omit<Job, "finish">): Promise<readonly Result[]> {
    return new Promise((resolve) => this.#queue.push({ ...job, finish: resolve }));
  }

  #dispatch(): void {
    let thread = this.#free.at(-1);
    while (thread !== undefined) {
      const job = this.#queue.next();
      if (job === undefined) return;
      this.#free.pop();
      void this.#run(thread, job);
      thread = this.#free.at(-1);
    }
  }

  /** Runs one job. It ends in `finish`, or in its clusters waiting one by one. */
  async #run(thread: Thread, job: Job): Promise<void> {
    const { failure } = job.request;
    const answer = failure ?? (await answerOf(thread, job.task));
    this.#queue.done(job, isCapitanError(answer));
    this.#free.push(thread);
    if (!isCapitanError(answer)) job.finish(answer);
    else if (this.#isClosed) finishAll(job, closing());
    else if (failure !== undefined) finishAll(job, failure);
    else this.#stopped(job, answer);
    this.#dispatch();
  }

  /** One cluster's values may be to blame: the others of the task get their own try. */
  #stopped(job: Job, error: CapitanError): void {
    const { key, task, request, finish } = job;
    if (task.contexts.length > 1) {
      const singles = task.contexts.map((context) =>
        this.#queued({ key, task: { ...task, contexts: [context] }, request }),
      );
      void Promise.all(singles).then((results) => finish(results.flat()));
      return;
    }
    request.stopped += 1;
    if (request.stopped >= stoppedMax) request.failure = error;
    finishAll(job, error);
  }
}

async function answerOf(thread: Thread, task: Task): Promise<readonly Outcome[] | CapitanError> {
  try {
    return await thread.run(task);
  } catch (error) {
    return isCapitanError(error) ? error : new CapitanError("InternalError", messageOf(error));
  }
}

function finishAll({ task, finish }: Job, error: CapitanError): void {
  finish(task.contexts.map(() => error));
}

const closing = () => new CapitanError("RendererBusy", "the renderer is being stopped");

/** The templates among the files. Throws TemplateInvalid when one is not UTF-8. */
function templatesOf(files: Files): Task["templates"] {
  const paths = [...files.keys()].filter(isTemplatePath).sort();
  return paths.map((file) => {
    const content = Buffer.from(files.get(file) ?? []);
    if (!isUtf8(content)) throw new CapitanError("TemplateInvalid", `${file}: not a text in UTF-8`);
    return { file, text: content.toString("utf8") };
  });
}
