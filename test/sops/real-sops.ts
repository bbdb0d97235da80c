import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { silent } from "../../hack/lab/progress.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import type { Format, Rule } from "../../pkg/sops/index.ts";

/** What the sops library is asked for; `tree` shows a plain file as sops sees it. */
export type Request = {
  readonly op: "decrypt" | "rotate" | "encrypt" | "tree";
  readonly format: Format;
  readonly file: Buffer;
  readonly groups?: readonly (readonly string[])[];
  readonly threshold?: number;
  readonly rule?: Rule | undefined;
  readonly macOnly?: boolean;
};

/** `status` is the exit status that the command has. */
export type Answer = {
  readonly status: number;
  readonly file: Buffer;
  readonly tree: unknown;
  readonly error: string;
};

/** The sops library in a process of its own, which answers in order. */
export class RealSops {
  readonly #child;
  readonly #lines: AsyncIterator<string>;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(program: string, identities: string) {
    const env = { PATH: process.env["PATH"], HOME: "/nonexistent", SOPS_AGE_KEY: identities };
    this.#child = spawn(program, [], { env, stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Starts it with some identities, one a line. */
  static async start(identities: string): Promise<RealSops> {
    return new RealSops(await ensureTool("sops-batch", silent), identities);
  }

  /** Asks, and waits for the answer; askers have their turn one after the other. */
  ask(request: Request): Promise<Answer> {
    const answer = this.#turn.then(() => this.#ask(request));
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  async #ask({ file, rule, ...request }: Request): Promise<Answer> {
    const rules = rule === undefined ? {} : { rule: { [rule.kind]: rule.pattern } };
    this.#child.stdin.write(
      `${JSON.stringify({ ...request, ...rules, file: file.toString("base64") })}\n`,
    );
    const line = await this.#lines.next();
    if (line.done === true) throw new Error("sops-batch has ended");
    const {
      status,
      file: answered = "",
      tree,
      error = "",
    } = JSON.parse(line.value) as {
      status: number;
      file?: string;
      tree?: unknown;
      error?: string;
    };
    return { status, file: Buffer.from(answered, "base64"), tree, error };
  }

  stop(): void {
    this.#child.kill();
  }
}
