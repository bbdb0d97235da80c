import type { Template } from "../template/index.ts";

type Compile = (text: string, file: string) => Template;

/**
 * The checked form of templates by their text and name, up to so many characters of text; what was
 * not used for longest goes first. A template that is refused is not kept.
 */
export class TemplateCache {
  readonly #charsMax: number;
  readonly #compile: Compile;
  readonly #held = new Map<string, Template>();
  #chars = 0;

  constructor(charsMax: number, compile: Compile) {
    this.#charsMax = charsMax;
    this.#compile = compile;
  }

  get(text: string, file: string): Template {
    const key = `${file}\0${text}`;
    const held = this.#held.get(key);
    const template = held ?? this.#compile(text, file);
    this.#held.delete(key);
    this.#held.set(key, template);
    if (held === undefined) this.#chars += key.length;
    this.#shrink();
    return template;
  }

  get size(): number {
    return this.#held.size;
  }

  #shrink(): void {
    for (const key of this.#held.keys()) {
      if (this.#chars <= this.#charsMax) return;
      this.#held.delete(key);
      this.#chars -= key.length;
    }
  }
}
