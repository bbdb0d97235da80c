/** What one template may be and do. Beyond it: TemplateTooLarge. */
export const limits = {
  /** Bytes of one template as UTF-8. */
  templateBytesMax: 256 * 1024,
  /** Blocks, branches of `{{else if}}` and expressions inside each other. */
  depthMax: 64,
  /** Statements that one rendering executes; each turn of a loop is at least one. */
  stepsMax: 1_000_000,
  /** Characters of one rendered file, and of any text on the way there. */
  outputCharsMax: 4 * 1024 * 1024,
  /** Characters of all rendered files of one layer for one cluster. */
  layerCharsMax: 8 * 1024 * 1024,
  /** Characters of a template that gives a path, and of the path. */
  pathCharsMax: 512,
} as const;
