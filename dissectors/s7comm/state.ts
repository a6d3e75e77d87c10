import { type Conversation, Pending, Reader } from '../../src/dissect/index.ts';

export const ANOMALIES = {
  unsolicited_response: 'A response to a job that was not seen, although the requests of this connection are.',
  duplicate_response: 'A second response to a job.',
  duplicate_request: 'A job with the reference of one that still waits for its response.',
  function_mismatch: 'The response is to another function than the job with its reference.',
  item_count_mismatch: 'The number of items differs from what the PDU announces, or from its request.',
  length_mismatch: 'The lengths in the header do not add up to the PDU, or a length within does not fit.',
  larger_than_negotiated: 'The PDU is larger than was agreed for the connection.',
  error_response: 'The response is an error.',
  unknown_rosctr: 'The kind of PDU is not known.',
  unknown_function: 'The function, or the function group, is not known.',
  unknown_syntax: 'An item has an address in a form that is not known.',
  missing_part: 'Parts of a message in several PDUs were not seen; its content is not read.',
  message_too_long: 'A message in several PDUs is longer than is joined (65,536 bytes); its content is not read.',
  invalid_time: 'A date and time is not one.',
  invalid_block_name: 'A block is named in another way than type, number and file system.',
} as const;
export type Anomaly = keyof typeof ANOMALIES;

export type S7Conversation = Conversation<S7State, Anomaly>;

// What a response must know of its job: columns of the pending table.
export const JOB = {
  function: 0,
  first_item: 1,
  item_count: 2,
  block: 3,
  file_system: 4,
  upload_id: 5,
  operation: 6,
  szl_id: 7,
  szl_index: 8,
  /** Of a user data request: 0 the first one, else it asks for the next part. */
  sequence: 9,
} as const;
const JOB_WIDTH = 10;
const MAX_JOBS = 32;

// What is kept of an item of a read or write job.
export const KEPT = { syntax: 0, element: 1, length: 2, db: 3, area: 4, address: 5 } as const;
const KEPT_WIDTH = 6;
const FIRST_ITEMS = 32;
const MAX_ITEMS = 1024;

/** Items of the jobs that wait, in a ring that grows once jobs are large or many, up to a limit. */
export class ItemRing {
  /** Number of the next item, counted from the beginning of the conversation. */
  next = 0;
  private kept = new Float64Array(FIRST_ITEMS * KEPT_WIDTH);
  private capacity = FIRST_ITEMS;

  /** Makes room for what `jobs` jobs of this size need. */
  reserve(items: number, jobs: number): void {
    if (items * (jobs + 1) <= this.capacity || this.capacity === MAX_ITEMS) return;
    let capacity = this.capacity;
    while (capacity < items * (jobs + 1) && capacity < MAX_ITEMS) capacity *= 2;
    const larger = new Float64Array(capacity * KEPT_WIDTH);
    for (let item = Math.max(0, this.next - this.capacity); item < this.next; item++) {
      for (let i = 0; i < KEPT_WIDTH; i++) larger[(item % capacity) * KEPT_WIDTH + i] = this.get(item, i);
    }
    this.kept = larger;
    this.capacity = capacity;
  }

  push(syntax: number, element: number, length: number, db: number, area: number, address: number): void {
    const { kept } = this;
    const at = (this.next % this.capacity) * KEPT_WIDTH;
    kept[at + KEPT.syntax] = syntax;
    kept[at + KEPT.element] = element;
    kept[at + KEPT.length] = length;
    kept[at + KEPT.db] = db;
    kept[at + KEPT.area] = area;
    kept[at + KEPT.address] = address;
    this.next++;
  }

  has(item: number): boolean {
    return item >= 0 && item < this.next && item >= this.next - this.capacity;
  }

  get(item: number, field: number): number {
    return this.kept[(item % this.capacity) * KEPT_WIDTH + field];
  }
}

// Columns of the tables of block transfers.
export const TRANSFER = { block: 0, file_system: 1, size: 2 } as const;

const MAX_MESSAGE = 65536;
const FIRST_MESSAGE = 2048;
const MAX_JOINED = 4;

/** One message that comes in several PDUs. */
class PartialMessage {
  key = -1;
  length = 0;
  overflow = false;
  bytes: Uint8Array = new Uint8Array(0);

  append(r: Reader): void {
    const needed = this.length + r.remaining;
    if (this.overflow || needed > MAX_MESSAGE) {
      this.overflow = true;
      return;
    }
    if (this.bytes.length < needed) {
      // Backed by shared memory like the batches, so that readers meet one kind of array.
      const size = Math.max(FIRST_MESSAGE, 2 ** Math.ceil(Math.log2(needed)));
      const larger = new Uint8Array(new SharedArrayBuffer(size));
      for (let i = 0; i < this.length; i++) larger[i] = this.bytes[i];
      this.bytes = larger;
    }
    for (let i = this.length, from = r.position; from < r.end; i++, from++) this.bytes[i] = r.bytes[from];
    this.length = needed;
  }
}

const MAX_ANSWERED = 16;

export class S7State {
  /** Largest PDU as agreed; 0 unknown. */
  pdu_length = 0;
  /** Jobs that wait, by direction and reference. */
  readonly jobs = new Pending(MAX_JOBS, JOB_WIDTH);
  readonly items = new ItemRing();
  /** Uploads by their number, downloads by their block. */
  readonly uploads = new Pending(8, 3);
  readonly downloads = new Pending(8, 3);
  /** Were jobs, and answers, seen in this direction since the last gap? Where one side is not seen nothing can be said of it. */
  readonly jobs_seen: [boolean, boolean] = [false, false];
  readonly answers_seen: [boolean, boolean] = [false, false];
  readonly joined = new Reader();

  private readonly answered = new Float64Array(MAX_ANSWERED).fill(-1);
  private nextAnswered = 0;
  private readonly messages: PartialMessage[] = [];
  private nextMessage = 0;

  wasAnswered(key: number): boolean {
    return this.answered.includes(key);
  }
  /** The job has its answer; a second one would be a duplicate until the reference is used again. */
  setAnswered(key: number): void {
    this.answered[this.nextAnswered] = key;
    this.nextAnswered = (this.nextAnswered + 1) % MAX_ANSWERED;
  }
  clearAnswered(key: number): void {
    const { answered } = this;
    for (let i = 0; i < MAX_ANSWERED; i++) if (answered[i] === key) answered[i] = -1;
  }

  findMessage(key: number): PartialMessage | null {
    for (const message of this.messages) if (message.key === key) return message;
    return null;
  }
  /** A free place for a message, or that of the oldest. */
  newMessage(key: number): PartialMessage {
    let message = this.findMessage(-1);
    if (message === null) {
      if (this.messages.length < MAX_JOINED) {
        message = new PartialMessage();
        this.messages.push(message);
      } else {
        message = this.messages[this.nextMessage];
        this.nextMessage = (this.nextMessage + 1) % MAX_JOINED;
      }
    }
    message.key = key;
    message.length = 0;
    message.overflow = false;
    return message;
  }

  /** Bytes were lost in a direction: jobs may have gone with them, and messages have holes. */
  forget(direction: number): void {
    for (let i = 0; i < 2; i++) {
      this.jobs_seen[i] = false;
      this.answers_seen[i] = false;
    }
    for (const message of this.messages) if (message.key >= 0 && message.key % 2 === direction) message.key = -1;
  }
}
