/** What the files of a source are to a layer: manifests, templates, values, encrypted ones. */
export { filesUnder, fileAt, sortFiles, type SortedFiles } from "./files.ts";
export { fileForNobody } from "./recipients.ts";
export { refuseCiphertext, refusePlaintext } from "./secrets.ts";
