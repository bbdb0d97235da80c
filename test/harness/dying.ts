/** Where a controller dies: at its n-th write, before or after it. */
export type CrashPoint = { readonly write: number; readonly when: "before" | "after" };

/** The death of a controller. */
export class Crash extends Error {}

/** Counts what a controller writes, and lets it die at one of these writes. After its death there are none. */
export class Writes {
  count = 0;
  #crash: CrashPoint | undefined;
  #isDead = false;

  constructor(crash?: CrashPoint) {
    this.#crash = crash;
  }

  /** One write. Throws Crash where the controller dies, and after that. */
  async write<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.#isDead) throw new Crash();
    this.count += 1;
    const isHere = this.#crash?.write === this.count;
    if (isHere && this.#crash?.when === "before") this.#die();
    const result = await work();
    if (isHere) this.#die();
    return result;
  }

  #die(): never {
    this.#isDead = true;
    throw new Crash();
  }

  /** Another controller, which lives. */
  revive(): void {
    this.#isDead = false;
    this.#crash = undefined;
  }
}
