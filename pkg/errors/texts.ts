/** What a code means, what a person should do, and whether trying again may help. */
export type CodeTexts = Readonly<
  Record<string, { retry: "never" | "backoff"; meaning: string; remedy: string }>
>;
