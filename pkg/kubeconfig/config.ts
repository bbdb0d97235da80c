/** How to reach one API server: everything inline, nothing to be read or run later. */
export type ConnectionConfig = {
  /** https://host:port[/prefix], without trailing slash. */
  readonly server: string;
  /** PEM bundle; the system's roots when undefined. */
  readonly ca: string | undefined;
  /** The name in the server's certificate when it is not the host of `server`. */
  readonly serverName: string | undefined;
  readonly credentials: Credentials;
};

export type Credentials = {
  /** PEM client certificate and key. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** The value of the Authorization header; asked for before each request, so that it may change. */
  readonly authorization?: () => Promise<string>;
};
