/** What the sandbox has besides the language itself. */

interface Console {
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  debug(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
}

/** Writes to the run's log where plugin.toml asks for host-log, else nowhere. */
declare var console: Console;

interface Performance {
  now(): number;
}

/** A clock that counts how often it was looked at. */
declare var performance: Performance;
