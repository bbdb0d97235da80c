import { isCapitanError, type Code } from "../errors/index.ts";
import type { Ledger } from "../inventory/index.ts";
import type { WorkloadPort } from "./ports.ts";

/** What was read; throws what says that the connection is lost. */
export type ReadAhead = () => Ledger | undefined;

/**
 * Reads the inventory over a connection that may be about to be replaced, so never rejects: only who goes on
 * with this connection asks what came of it. What else is wrong is told by the member that reads it again.
 */
export async function readAhead(workload: WorkloadPort, signal: AbortSignal): Promise<ReadAhead> {
  try {
    const ledger = await workload.inventory.read(signal);
    return () => ledger;
  } catch (error) {
    return () => {
      if (isCapitanError(error) && !endsConnection(error.code)) return undefined;
      throw error;
    };
  }
}

/** Whether a problem is one of the connection, so that nothing on it can go on. */
export const endsConnection = (code: Code) =>
  code === "Unreachable" || code === "CredentialsRejected";
