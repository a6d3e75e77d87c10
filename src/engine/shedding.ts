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

/** A conversation in which nothing was recognised, and which carried so much since its counts were last said, is bulk. */
const BULK_BYTES = 64 << 10;

/** Decides, in the shard, which packets' payload is not looked at. */
export class Shedder {
  level: ShedLevel = Shed.nothing;
  /** Packets whose payload was not looked at, by the level that wanted it. */
  readonly counters = { bulk: 0, unrecognised: 0, all: 0 };
  private readonly registry: Registry;

  constructor(registry: Registry) {
    this.registry = registry;
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
    if (bytes < BULK_BYTES) return false;
    counters.bulk++;
    return true;
  }

  private isKnownPort(is_tcp: boolean, p: Packet): boolean {
    const { registry } = this;
    return registry.onPort(is_tcp, p.source_port).length > 0 || registry.onPort(is_tcp, p.destination_port).length > 0;
  }
}

/** How full the kernel's rings are when a level begins, and when it ends again. */
const BEGINS = [0, 0.25, 0.5, 0.75];
const ENDS = [0, 0.05, 0.15, 0.3];
/** A level ends when there was room for so long: what ebbs for a moment comes again. */
const CALM_MS = 3000;

/** Sets the level by how much waits: up at once, down step by step. */
export class ShedControl {
  level: ShedLevel = Shed.nothing;
  private calm_since_ms = Number.POSITIVE_INFINITY;

  /** `fill`: the part of the fullest ring that is waiting to be read, 0 to 1. Gives the level from here on. */
  update(fill: number, now_ms: number): ShedLevel {
    let wanted = BEGINS.length - 1;
    while (fill < BEGINS[wanted]) wanted--;
    if (wanted > this.level) {
      this.level = wanted as ShedLevel;
      this.calm_since_ms = Number.POSITIVE_INFINITY;
    } else if (this.level > 0 && fill < ENDS[this.level]) {
      this.calm_since_ms = Math.min(this.calm_since_ms, now_ms);
      if (now_ms - this.calm_since_ms >= CALM_MS) {
        this.level--;
        this.calm_since_ms = now_ms;
      }
    } else this.calm_since_ms = Number.POSITIVE_INFINITY;
    return this.level;
  }
}
