/** What plugins are given and what they give back: the records of wit/. */

export type Role = "system" | "user" | "assistant" | "tool";

/** How a trajectory ended. */
export type StopReason =
  | "completed"
  | "max_tokens"
  | "max_turns"
  | "max_tool_calls"
  | "parse_error"
  | "timed_out"
  | "stopped_by_environment";

/** A call proposed by the policy. Nothing has checked it: expect unknown names and broken arguments. */
export interface ToolCall {
  id: string;
  name: string;
  /** A JSON object, exactly as the policy wrote it; it may not parse. */
  arguments: string;
}

/** One message of a conversation. */
export interface Message {
  role: Role;
  content: string;
  /** The tool's name, on messages of role "tool". */
  name: string | null;
  /** The calls this message proposes, in order. */
  toolCalls: ToolCall[];
  /** The call this message answers, on messages of role "tool". */
  toolCallId: string | null;
}

/** A message as a plugin writes one: what is left out is empty. */
export type Said = Pick<Message, "role" | "content"> & Partial<Message>;

/** One finished trajectory to judge. */
export class Sample {
  /** Names this sample within the run. */
  id = "";
  /** Samples of one group answer the same task. */
  group = "";
  /** The data set the task comes from; empty when its row does not name it. */
  dataSource = "";
  /** The messages the policy was given. */
  prompt: Message[] = [];
  /** The messages that followed: the policy's own, and those of tools and environment between them. */
  completion: Message[] = [];
  /** The reference answer; empty when there is none. */
  groundTruth = "";
  /** Every further column of the data row, a JSON object. */
  extra = "{}";
  stopReason: StopReason = "completed";
  /** Rewards the environment gave, one per assistant message; empty for single-turn tasks. */
  turnScores: number[] = [];
  /** How many tokens the policy generated; 0 when that is not known. */
  completionTokens = 0;
  /** The training step the sample belongs to; 0 outside training. */
  step = 0;

  /** A single-turn sample for tests: what the policy answered, what was right, what was asked. */
  static of(response: string, groundTruth = "", prompt = ""): Sample {
    const sample = new Sample();
    sample.prompt = prompt === "" ? [] : [complete({ role: "user", content: prompt })];
    sample.completion = [complete({ role: "assistant", content: response })];
    sample.groundTruth = groundTruth;
    return sample;
  }

  /** The text of the policy's last message; empty when it said nothing. */
  response(): string {
    return this.completion.findLast((message) => message.role === "assistant")?.content ?? "";
  }
}

/** The message with everything that was left out. */
export function complete(message: Said): Message {
  return { name: null, toolCalls: [], toolCallId: null, ...message };
}

/** What a reward thinks of one sample. A wrong answer is a score of 0; a `Fault` means "could not judge". */
export class Score {
  /** One line for a person who reads the rollout. */
  note = "";
  /** Credit per reasoning step or assistant message, for process rewards. */
  steps: number[] = [];
  /** Named parts of the value. */
  components: Record<string, number> = {};
  /** Numbers for the logs that never enter the objective. */
  metrics: Record<string, number> = {};

  /** Null: this reward does not apply to this sample, and its weight drops out for it. */
  constructor(readonly value: number | null) {}

  /** A score that is this number, with whatever else there is to say. */
  static of(value: number, more: Partial<Omit<Score, "value">> = {}): Score {
    return Object.assign(new Score(value), more);
  }

  /** "This reward does not apply to this sample". */
  static none(more: Partial<Omit<Score, "value">> = {}): Score {
    return Object.assign(new Score(null), more);
  }
}

export type FaultKind = "invalid-input" | "misconfigured" | "unavailable" | "internal";

/** Throw one to say why there is no judgement: `throw Fault.invalidInput("no ground truth")`. */
export class Fault extends Error {
  constructor(
    readonly kind: FaultKind,
    message: string,
  ) {
    super(message);
    this.name = "Fault";
  }

  /** The data given cannot be judged by this plugin. */
  static invalidInput(message: string): Fault {
    return new Fault("invalid-input", message);
  }

  /** The settings are wrong. */
  static misconfigured(message: string): Fault {
    return new Fault("misconfigured", message);
  }

  /** A host service the plugin needs is not granted or not reachable. */
  static unavailable(message: string): Fault {
    return new Fault("unavailable", message);
  }

  /** A bug or a limit inside the plugin; what is thrown otherwise becomes one, with its stack. */
  static internal(message: string): Fault {
    return new Fault("internal", message);
  }
}

/** What an episode is about. */
export interface Task {
  /** Names the task within its data set. */
  id: string;
  dataSource: string;
  /** The messages the data row gives; an environment decides what the policy sees of them. */
  prompt: Message[];
  /** The reference answer; never shown to the policy by the host. */
  groundTruth: string;
  /** Every further column of the data row, a JSON object. */
  extra: string;
}

/** What a tool gives back, where a text is not enough. */
export class Output {
  constructor(
    /** The text of the message the policy sees. */
    readonly content: string,
    /** A reward for this call; 0 for most tools. */
    readonly reward = 0,
    /** Numbers for the logs. */
    readonly metrics: Record<string, number> = {},
  ) {}
}
