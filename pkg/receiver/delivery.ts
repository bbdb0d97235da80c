import { createHash, createHmac, timingSafeEqual, type Hmac } from "node:crypto";
import type { ReceiverSpec, ReceiverType } from "../api/index.ts";
import { isHeard, readPush, type Pushed } from "./payload.ts";

/** Names in lower case. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Why nothing comes of a delivery, as an HTTP status. */
export type Refusal = { readonly kind: "refused"; readonly status: 400 | 401 | 413 | 415 };
export type Verdict = Refusal | { readonly kind: "genuine"; readonly pushed: Pushed };

/** A longer body is not read to its end. */
export const deliveryBytesMax = 1024 * 1024;
/** Of a body so much is held until it has proved to be genuine; of more only the signature is checked. */
const heldBytesMax = 64 * 1024;

/** How each provider proves itself: by the token, or by a signature over the body made with it. */
const proofs: Readonly<Record<ReceiverType, Proof | undefined>> = {
  generic: undefined,
  "generic-hmac": { kind: "hmac", header: "x-signature", form: /^sha256=([0-9a-f]{64})$/i },
  github: { kind: "hmac", header: "x-hub-signature-256", form: /^sha256=([0-9a-f]{64})$/i },
  gitea: { kind: "hmac", header: "x-gitea-signature", form: /^([0-9a-f]{64})$/i },
  gitlab: { kind: "token", header: "x-gitlab-token", form: /^(.+)$/s },
  distribution: { kind: "token", header: "authorization", form: /^(?:Bearer )?(.+)$/is },
};
type Proof = {
  readonly kind: "hmac" | "token";
  readonly header: string;
  readonly form: RegExp;
};

const eventHeaders: Partial<Record<ReceiverType, string>> = {
  github: "x-github-event",
  gitea: "x-gitea-event",
  gitlab: "x-gitlab-event",
};

/**
 * One delivery to a Receiver, judged while it comes in: `begin`, `take` for each piece of the body,
 * `end`. It holds 64 KiB at most, whatever it is sent.
 */
export class Delivery {
  readonly #spec: ReceiverSpec;
  readonly #headers: Headers;
  readonly #hmac: Hmac | undefined;
  #held: Buffer[] = [];
  #bytes = 0;

  private constructor(spec: ReceiverSpec, token: string, headers: Headers) {
    this.#spec = spec;
    this.#headers = headers;
    const isSigned = proofs[spec.type]?.kind === "hmac";
    this.#hmac = isSigned ? createHmac("sha256", token) : undefined;
  }

  /** Refuses what the headers alone give away: a wrong token, no signature, a compressed body. */
  static begin(spec: ReceiverSpec, token: string, headers: Headers): Delivery | Refusal {
    const proof = proofs[spec.type];
    const shown = proof === undefined ? "" : shownIn(headers, proof);
    if (shown === undefined) return refused(401);
    if (proof?.kind === "token" && !isSame(shown, token)) return refused(401);
    if (Number(text(headers, "content-length") ?? 0) > deliveryBytesMax) return refused(413);
    // Nothing is ever unpacked here, so nothing can swell.
    if (!["identity", undefined].includes(text(headers, "content-encoding"))) return refused(415);
    return new Delivery(spec, token, headers);
  }

  /** Takes a piece of the body; false when it is too long. */
  take(piece: Buffer): boolean {
    this.#bytes += piece.length;
    if (this.#bytes > deliveryBytesMax) return false;
    this.#hmac?.update(piece);
    if (this.#bytes <= heldBytesMax) this.#held.push(piece);
    else this.#held = [];
    return true;
  }

  /** What is to be made of the whole. Once only. */
  end(): Verdict {
    const proof = proofs[this.#spec.type];
    if (this.#hmac !== undefined && proof !== undefined) {
      const shown = Buffer.from(shownIn(this.#headers, proof) ?? "", "hex");
      const digest = this.#hmac.digest();
      if (shown.length !== digest.length || !timingSafeEqual(shown, digest)) return refused(401);
    }
    const event = text(this.#headers, eventHeaders[this.#spec.type] ?? "");
    if (!isHeard(this.#spec, event)) return { kind: "genuine", pushed: { kind: "nothing" } };
    // A push of hundreds of commits: what it names is not looked for, so it may be anything.
    if (this.#bytes > heldBytesMax) return { kind: "genuine", pushed: { kind: "anything" } };
    return this.#read(event);
  }

  #read(event: string | undefined): Verdict {
    const { type } = this.#spec;
    if (type === "generic" || type === "generic-hmac")
      return { kind: "genuine", pushed: { kind: "anything" } };
    const payload = parsed(this.#json());
    if (payload === undefined) return refused(400);
    return { kind: "genuine", pushed: readPush(this.#spec, event, payload) };
  }

  /** The body's JSON; GitHub and Gitea can send it as the field of a form too. */
  #json(): string {
    const body = Buffer.concat(this.#held).toString("utf8");
    const isForm = /^application\/x-www-form-urlencoded\b/i.test(
      text(this.#headers, "content-type") ?? "",
    );
    return isForm ? (new URLSearchParams(body).get("payload") ?? "") : body;
  }
}

const refused = (status: Refusal["status"]): Refusal => ({ kind: "refused", status });

function text(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : undefined;
}

function shownIn(headers: Headers, { header, form }: Proof): string | undefined {
  return form.exec(text(headers, header) ?? "")?.[1];
}

/** Whether two texts are the same, in a time that does not say how much of them is. */
function isSame(a: string, b: string): boolean {
  const [x, y] = [a, b].map((value) => createHash("sha256").update(value).digest());
  return x !== undefined && y !== undefined && timingSafeEqual(x, y);
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
