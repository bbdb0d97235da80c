const begin = "-----BEGIN AGE ENCRYPTED FILE-----";
const end = "-----END AGE ENCRYPTED FILE-----";
const lineLength = 64;

/** An age file as PEM-like text, with a last line end: the form that SOPS and Flux need. */
export function encodeArmor(file: Buffer): string {
  const base64 = file.toString("base64");
  let text = `${begin}\n`;
  for (let at = 0; at < base64.length; at += lineLength)
    text += `${base64.slice(at, at + lineLength)}\n`;
  return `${text}${end}\n`;
}

/** The age file in an armor, or undefined. As strict as age: full lines, one short one at most, at the end. */
export function decodeArmor(text: string): Buffer | undefined {
  const lines = text.replace(/\r\n/g, "\n").replace(/\n$/, "").split("\n");
  if (lines[0] !== begin || lines.at(-1) !== end) return undefined;
  const body = lines.slice(1, -1);
  const isWhole = body.every(
    (line, i) =>
      /^[A-Za-z0-9+/]+={0,2}$/.test(line) &&
      line.length % 4 === 0 &&
      (i === body.length - 1 ? line.length <= lineLength : line.length === lineLength),
  );
  return isWhole && body.length > 0 ? Buffer.from(body.join(""), "base64") : undefined;
}
