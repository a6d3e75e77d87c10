import type { Packet } from '../decode/packet.ts';
import type { Registry } from '../dissect/registry.ts';
import type { FlowState } from '../flow/flow-state.ts';

/**
 * What is left undone when the sensor cannot keep up, in this order; each level leaves out what those below it do. Every packet is still
 * decoded, counted to its conversation, and remembered for evidence.
 */
export const Shed = {
  nothing: 0,
  /** The payload of conversations in which nothing was recognised and which carry much. */
  bulk: 1,
  /** All payload but that of OT protocols, and of conversations on their ports. */
  unrecognised: 2,
  /** OT protocols too. */
  all: 3,
} as const;
export type ShedLevel = (typeof Shed)[keyof typeof Shed];

export const SHED_MEANINGS: Readonly<Record<ShedLevel, string>> = {
  0: 'nothing',
  1: 'the payload of conversations that are not OT and carry much',
  2: 'all payload but that of OT protocols',
  3: 'all payload',
};

/** When a level begins and ends, and what is bulk: one set of numbers a sensor. */
export interface SheddingOptions {
  /** How full the fullest of the kernel's rings is when the level begins, and when it ends again, in percent. */
  bulk_begins_percent: number;
  bulk_ends_percent: number;
  unrecognised_begins_percent: number;
  unrecognised_ends_percent: number;
  all_begins_percent: number;
  all_ends_percent: number;
  /** A level ends when there was room for so long: what ebbs for a moment comes again. */
  calm_ms: number;
  /** A conversation in which nothing was recognised, and which carried so much since its counts were last said, is bulk. */
  bulk_bytes: number;
}

export const SHEDDING_DEFAULTS: Readonly<SheddingOptions> = {
  bulk_begins_percent: 25,
  bulk_ends_percent: 5,
  unrecognised_begins_percent: 50,
  unrecognised_ends_percent: 15,
  all_begins_percent: 75,
  all_ends_percent: 30,
  calm_ms: 3000,
  bulk_bytes: 64 << 10,
};

/** What does not fit together, in words; '' where all does. */
export function sheddingFault(options: SheddingOptions): string {
  const names = ['bulk', 'unrecognised', 'all'] as const;
  for (const [i, name] of names.entries()) {
    const [begins, ends] = [options[`${name}_begins_percent`], options[`${name}_ends_percent`]];
    if (ends >= begins) return `"${name}_ends_percent" is not below "${name}_begins_percent"`;
    if (i > 0 && begins < options[`${names[i - 1]}_begins_percent`])
      return `"${name}_begins_percent" is below "${names[i - 1]}_begins_percent": levels begin one after the other`;
  }
  return '';
}

/** Decides, in the shard, which packets' payload is not looked at. */
export class Shedder {
  level: ShedLevel = Shed.nothing;
  /** Packets whose payload was not looked at, by the level that wanted it. */
  readonly counters = { bulk: 0, unrecognised: 0, all: 0 };
  private readonly registry: Registry;
  private readonly bulk_bytes: number;

  constructor(registry: Registry, bulk_bytes = SHEDDING_DEFAULTS.bulk_bytes) {
    this.registry = registry;
    this.bulk_bytes = bulk_bytes;
  }

  get packets(): number {
    const { bulk, unrecognised, all } = this.counters;
    return bulk + unrecognised + all;
  }

  /** For a packet with payload, at a level above nothing. `bytes`: what the conversation has carried since its counts were last said. */
  sheds(state: FlowState | undefined, p: Packet, is_tcp: boolean, bytes: number): boolean {
    const { counters, level } = this;
    if (state !== undefined && state.dissector >= 0) {
      if (level < Shed.all) return false;
      counters.all++;
      return true;
    }
    if (level >= Shed.unrecognised && !this.isKnownPort(is_tcp, p)) {
      counters.unrecognised++;
      return true;
    }
    if (bytes < this.bulk_bytes) return false;
    counters.bulk++;
    return true;
  }

  private isKnownPort(is_tcp: boolean, p: Packet): boolean {
    const { registry } = this;
    return registry.onPort(is_tcp, p.source_port).length > 0 || registry.onPort(is_tcp, p.destination_port).length > 0;
  }
}

/** Sets the level by how much waits: up at once, down step by step. */
export class ShedControl {
  level: ShedLevel = Shed.nothing;
  private calm_since_ms = Number.POSITIVE_INFINITY;
  private readonly begins: readonly number[];
  private readonly ends: readonly number[];
  private readonly calm_ms: number;

  constructor(options: SheddingOptions = SHEDDING_DEFAULTS) {
    const { bulk_begins_percent, unrecognised_begins_percent, all_begins_percent } = options;
    this.begins = [0, bulk_begins_percent, unrecognised_begins_percent, all_begins_percent].map((percent) => percent / 100);
    const { bulk_ends_percent, unrecognised_ends_percent, all_ends_percent } = options;
    this.ends = [0, bulk_ends_percent, unrecognised_ends_percent, all_ends_percent].map((percent) => percent / 100);
    this.calm_ms = options.calm_ms;
  }

  /** `fill`: the part of the fullest ring that is waiting to be read, 0 to 1. Gives the level from here on. */
  update(fill: number, now_ms: number): ShedLevel {
    let wanted = this.begins.length - 1;
    while (fill < this.begins[wanted]) wanted--;
    if (wanted > this.level) {
      this.level = wanted as ShedLevel;
      this.calm_since_ms = Number.POSITIVE_INFINITY;
    } else if (this.level > 0 && fill < this.ends[this.level]) {
      this.calm_since_ms = Math.min(this.calm_since_ms, now_ms);
      if (now_ms - this.calm_since_ms >= this.calm_ms) {
        this.level--;
        this.calm_since_ms = now_ms;
      }
    } else this.calm_since_ms = Number.POSITIVE_INFINITY;
    return this.level;
  }
}
