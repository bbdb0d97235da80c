import { Worker, type WorkerOptions } from "node:worker_threads";
import { CapitanError, messageOf, type Code } from "../errors/index.ts";
import { ready, type Answer, type Task } from "./messages.ts";

export type ThreadLimits = {
  /** Wall-clock time of one task. */
  readonly timeMsMax: number;
  /** Heap of the thread. */
  readonly memoryMbMax: number;
};

/** A thread that is not loaded after this long will never be. */
const startMsMax = 30_000;
const youngMbMax = 16;
const stackMb = 4;

type Reply = (value: unknown) => void;

/**
 * One thread that renders. It is started when it is first needed; a task that takes too much ends the
 * thread, and the next task finds a new one. It has no environment variables.
 */
export class Thread {
  readonly #limits: ThreadLimits;
  #worker: Promise<Worker> | undefined;

  constructor(limits: ThreadLimits) {
    this.#limits = limits;
  }

  /** Throws TemplateTooLarge when the task needs too much; the thread is a new one then. One task at a time. */
  async run(task: Task): Promise<Answer> {
    const started = this.#worker ?? this.#start();
    try {
      const worker = await started;
      if (this.#worker !== started) throw new CapitanError("InternalError", "the thread has ended");
      worker.ref();
      const answer = await reply(worker, this.#limits, () => worker.postMessage(task));
      worker.unref();
      return answer as Answer;
    } catch (error) {
      this.#forget(started);
      await end(started);
      throw error;
    }
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    if (worker !== undefined) await end(worker);
  }

  #start(): Promise<Worker> {
    const started = start(this.#limits.memoryMbMax);
    this.#worker = started;
    const forget = () => this.#forget(started);
    // A thread that ends while it has nothing to do is not asked again.
    void started.then((worker) => worker.once("exit", forget), forget);
    return started;
  }

  #forget(worker: Promise<Worker>): void {
    if (this.#worker === worker) this.#worker = undefined;
  }
}

async function start(memoryMbMax: number): Promise<Worker> {
  const program = new URL("./worker.ts", import.meta.url);
  const worker = new Worker(program, threadOptions(memoryMbMax));
  // An error that comes while nobody waits is seen by who asks next, as the end of the thread.
  worker.on("error", () => undefined);
  try {
    const first = await reply(worker, { timeMsMax: startMsMax, memoryMbMax }, () => undefined);
    if (first !== ready) throw new Error("it said something else first");
  } catch (error) {
    await worker.terminate();
    const what = `a rendering thread did not start: ${messageOf(error)}`;
    throw new CapitanError("InternalError", what, { cause: error });
  }
  worker.unref();
  return worker;
}

/** What a thread may have: so much memory, and none of the process's environment and options. */
export function threadOptions(memoryMbMax: number): WorkerOptions {
  const resourceLimits = {
    maxOldGenerationSizeMb: memoryMbMax,
    maxYoungGenerationSizeMb: youngMbMax,
    stackSizeMb: stackMb,
  };
  return { env: {}, execArgv: [], resourceLimits };
}

async function end(started: Promise<Worker>): Promise<void> {
  const worker = await started.catch(() => undefined);
  await worker?.terminate();
}

/** What the thread says next. */
function reply(worker: Worker, limits: ThreadLimits, ask: () => void): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const fail = (what: string, code: Code = "TemplateTooLarge") =>
    reject(new CapitanError(code, what));
  const late = `rendering took more than ${limits.timeMsMax} ms and was stopped`;
  // An answer may lie unread while this thread was busy itself: it is read before the time is up.
  const timer = setTimeout(() => setImmediate(fail, late), limits.timeMsMax);
  const listeners: readonly (readonly [string, Reply])[] = [
    ["message", resolve],
    ["error", (error) => reject(failureOf(error, limits))],
    ["exit", () => fail("the rendering thread ended", "InternalError")],
  ];
  for (const [name, listen] of listeners) worker.on(name, listen);
  try {
    ask();
  } catch (error) {
    fail(`the values cannot be given to a thread (${messageOf(error)})`);
  }
  return promise.finally(() => {
    clearTimeout(timer);
    for (const [name, listen] of listeners) worker.off(name, listen);
  });
}

function failureOf(error: unknown, { memoryMbMax }: ThreadLimits): CapitanError {
  if ((error as { readonly code?: string }).code !== "ERR_WORKER_OUT_OF_MEMORY")
    return new CapitanError("InternalError", `the rendering thread failed: ${messageOf(error)}`);
  const what = `rendering needed more than ${memoryMbMax} MB of memory and was stopped`;
  return new CapitanError("TemplateTooLarge", what);
}
