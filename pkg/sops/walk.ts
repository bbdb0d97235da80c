import { SopsError } from "./error.ts";
import type { Decider } from "./rules.ts";
import type { Comment, Leaf, ListNode, MapNode, Node, Pair } from "./tree.ts";

/** Where a value stands: its path, as the cipher authenticates it, and whether the rule encrypts it. */
export type Visit = { readonly aad: string; readonly encrypted: boolean };

/** Called for each value and comment, in the order of the document; gives what takes its place. */
export type Visitor = (node: Leaf | Comment, visit: Visit) => Leaf | Comment;

/**
 * Rebuilds a document with every value and comment replaced. Nulls and empty containers are passed
 * over, as SOPS does: they are neither encrypted nor in the MAC.
 */
export function walk(root: MapNode, rule: Decider, visitor: Visitor): MapNode {
  return walkMap(root, { prefix: "", matched: false, comments: undefined }, { rule, visitor });
}

type Job = { readonly rule: Decider; readonly visitor: Visitor };

/** The path so far, whether a key on it matched, and the comments above each item on the way. */
type Path = {
  readonly prefix: string;
  readonly matched: boolean;
  readonly comments: Stack | undefined;
};
type Stack = { readonly outer: Stack | undefined; readonly texts: string[] };

function walkMap(map: MapNode, path: Path, job: Job): MapNode {
  const inner = withComments(path, job);
  const items = map.items.map((item): Pair | Comment => {
    if (item.kind === "comment") return walkComment(item, inner, job);
    const matched = path.matched || (!job.rule.byComment && job.rule.matches(item.key));
    const below = { ...inner, prefix: `${path.prefix}${item.key}:`, matched };
    const value = walkNode(item.value, below, job);
    if (value.kind === "comment")
      throw new SopsError(
        "SopsTampered",
        25,
        `a comment is the value under ${JSON.stringify(below.prefix)}`,
      );
    clear(inner);
    return value === item.value ? item : { kind: "pair", key: item.key, value };
  });
  return { kind: "map", items };
}

function walkList(list: ListNode, path: Path, job: Job): ListNode {
  const inner = withComments(path, job);
  const items = list.items.map((item): Node | Comment => {
    if (item.kind === "comment") return walkListComment(item, inner, job);
    const value = walkNode(item, inner, job);
    clear(inner);
    return value;
  });
  return { kind: "list", items };
}

const withComments = (path: Path, { rule }: Job): Path =>
  rule.byComment ? { ...path, comments: { outer: path.comments, texts: [] } } : path;

const clear = ({ comments }: Path) => comments?.texts.splice(0);

function walkNode(node: Node, path: Path, job: Job): Node | Comment {
  if (node.kind === "map") return walkMap(node, path, job);
  if (node.kind === "list") return walkList(node, path, job);
  if (node.value.type === "null") return node;
  return job.visitor(node, visitOf(path, job, false));
}

function walkComment(comment: Comment, path: Path, job: Job): Comment {
  const walked = walkListComment(comment, path, job);
  if (walked.kind === "comment") return walked;
  const { inline } = comment;
  return {
    kind: "comment",
    bytes: walked.kind === "leaf" ? walked.value.bytes : comment.bytes,
    inline,
  };
}

function walkListComment(comment: Comment, path: Path, job: Job): Node | Comment {
  path.comments?.texts.push(comment.bytes.toString());
  return job.visitor(comment, visitOf(path, job, true));
}

function visitOf(path: Path, { rule }: Job, isComment: boolean): Visit {
  const matched = rule.byComment ? commentsMatch(path, rule, isComment) : path.matched;
  return { aad: path.prefix === "" ? ":" : path.prefix, encrypted: matched === rule.encrypts };
}

/** The comment line that asks for encryption is not encrypted itself. */
function commentsMatch({ comments }: Path, rule: Decider, isComment: boolean): boolean {
  for (let at = comments; at !== undefined; at = at.outer) {
    const isOwn = isComment && at === comments && rule.encrypts;
    const texts = isOwn ? at.texts.slice(0, -1) : at.texts;
    if (texts.some((text) => rule.matches(text))) return true;
  }
  return false;
}
