// Types of rille.js.

/** A place in a group's history. */
export interface Mark {
  epoch: string;
  offset: number;
}

/** Anything that the application sends as JSON. */
export interface Message {
  type?: string;
  group?: string;
  history?: Mark & { group: string };
  [name: string]: unknown;
}

export interface JoinOptions {
  /** Where to begin: behind a mark, so many messages before the end, or (default) at the end. */
  since?: Mark | { last: number } | null;
  /** Said in every join of the group. */
  [name: string]: unknown;
}

/** What is known of each connection of a key. */
export type Metas = unknown[];

interface GroupEvents {
  message: (message: Message) => void;
  /** The server has let us in; recovered: with all that was missed; gap: some of it is gone. */
  joined: (result: { recovered: boolean; gap: boolean }) => void;
  gap: () => void;
  refused: (message: Message) => void;
  join: (key: string, metas: Metas) => void;
  update: (key: string, metas: Metas) => void;
  leave: (key: string, metas: Metas) => void;
  people: (people: Map<string, Metas>) => void;
}

interface ClientEvents {
  open: () => void;
  /** delay: ms until the next attempt; null: there will be none. */
  close: (event: { code: number; reason: string; delay: number | null }) => void;
  /** What is of no group: JSON as its value, anything else as it came. */
  message: (message: unknown) => void;
}

declare class Emitter<Events> {
  /** Returns a function that takes the listener away. */
  on<Name extends keyof Events>(event: Name, fn: Events[Name]): () => void;
  off<Name extends keyof Events>(event: Name, fn: Events[Name]): void;
}

export declare class Group extends Emitter<GroupEvents> {
  private constructor();
  readonly name: string;
  /** Of the last message; keep it to come back after a reload of the page. */
  readonly mark: Mark | null;
  readonly joined: boolean;
  readonly people: Map<string, Metas>;
  leave(): void;
}

export interface ClientOptions {
  /** Default: the global one. */
  WebSocket?: new (url: string, protocols?: string | string[]) => unknown;
  protocols?: string | string[];
  /** Milliseconds within which the first attempt to come back is made, default 250; doubled each
   * time, */
  first?: number;
  /** up to this, default 20000. */
  most?: number;
  /** Is a close code one to come back after? Default: all but 1000, 1008, and 4000 and above. */
  retry?: (code: number) => boolean;
  random?: () => number;
}

export declare class Client extends Emitter<ClientEvents> {
  /** url: or a function that gives it anew for each attempt, with a fresh token for example. */
  constructor(url: string | (() => string), options?: ClientOptions);
  readonly connected: boolean;
  /** False: there is no connection, and nothing was sent. */
  send(message: string | object): boolean;
  /** Be in a group until leave(), over all connections. */
  join(name: string, options?: JoinOptions): Group;
  /** Let go of this connection, and come back by another. */
  reconnect(): void;
  close(code?: number, reason?: string): void;
}
