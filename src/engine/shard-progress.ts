/**
 * Where a shard is, in memory that outlives its thread: what the packet at hand was when it died or hung. One writer, the shard; 64-bit
 * numbers, of which a torn one would be worth no more than a wrong one.
 */
export class ShardProgress {
  readonly buffer: SharedArrayBuffer;
  private readonly words: Float64Array;

  constructor(buffer = new SharedArrayBuffer(4 * 8)) {
    this.buffer = buffer;
    this.words = new Float64Array(buffer);
  }

  /** The packet at hand, by its number; 0 before the first. */
  get frame(): number {
    return this.words[0];
  }
  set frame(frame: number) {
    this.words[0] = frame;
  }

  /** Packets of this shard, the one at hand included. */
  get packets(): number {
    return this.words[1];
  }
  set packets(packets: number) {
    this.words[1] = packets;
  }

  /** The dissector at work: its index + 1; 0 for none. */
  get dissector(): number {
    return this.words[2];
  }
  set dissector(dissector: number) {
    this.words[2] = dissector;
  }

  /** Flows whose counts were said: what there is to do between packets, and at the end, may take long. */
  get flows_said(): number {
    return this.words[3];
  }
  set flows_said(flows: number) {
    this.words[3] = flows;
  }
}
