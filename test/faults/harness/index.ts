/** Faults between Capitan and API servers, and what an audit log says about it. For the tests of this folder. */
export { ApiProxy, type ApiProxyOptions } from "./api-proxy.ts";
export {
  auditOf,
  counts,
  isLease,
  isRefused,
  lives,
  requestsSince,
  writes,
  writesSince,
  type Audit,
  type AuditEntry,
  type Mark,
} from "../../../hack/lab/audit.ts";
export { ofTheLab, swapKubeconfig } from "./control.ts";
export { inventoryOf } from "./inventory.ts";
export type { LoggedRequest } from "./exchange.ts";
export type { EventRule, Fault, Hold } from "./fault.ts";
export type { Answer, EventRewrite, Match, RequestFacts, Rule, WatchLine } from "./rules.ts";
export { TcpProxy, type Target } from "./tcp-proxy.ts";
export type { CutOptions } from "./write-cut.ts";
