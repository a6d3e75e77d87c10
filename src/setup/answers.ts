import type { Node } from 'yaml';
import type { Fault } from '../yaml/fault.ts';
import { type Entry, YamlReader } from '../yaml/reader.ts';

/** What the set-up asks for; what is left out is not said. */
export interface Answers {
  mirror_ports?: string[];
  host?: string;
  port?: number;
  data?: string;
  /** Whether to propose zones. */
  propose_zones?: boolean;
  /** Whether settings that are there may be replaced. */
  overwrite?: boolean;
}

const MAX_LENGTH = 1 << 16;
const MAX_PORTS = 16;

/** The answers in a file (YAML). Never throws on any text. */
export function readAnswers(text: string): { model: Answers | null; faults: Fault[] } {
  return new AnswersReader(text, MAX_LENGTH).read();
}

class AnswersReader extends YamlReader {
  read(): { model: Answers | null; faults: Fault[] } {
    return this.readWhole(() => {
      const keys = ['mirror_ports', 'host', 'port', 'data', 'propose_zones', 'overwrite'];
      const entries = this.entries(this.document.contents as Node | null, 'the file of answers', keys);
      if (entries === null) return null;
      const mirror_ports = this.items(entries.get('mirror_ports'), 'mirror_ports', MAX_PORTS).map(
        (item) => this.text_(item, 'the name of an interface') ?? '',
      );
      const text = (key: string) => (entries.has(key) ? this.scalar(entries.get(key)!) : undefined);
      return {
        mirror_ports: entries.has('mirror_ports') ? mirror_ports : undefined,
        host: text('host'),
        port: this.portOf(entries.get('port')),
        data: text('data'),
        propose_zones: this.toggle(entries.get('propose_zones')),
        overwrite: this.toggle(entries.get('overwrite')),
      };
    });
  }

  private portOf(entry: Entry | undefined): number | undefined {
    if (entry === undefined) return undefined;
    const port = Number(this.scalar(entry));
    if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
    this.fault(entry.value ?? entry.key, 'value', '"port" is a TCP port, 1 to 65535');
    return undefined;
  }

  private toggle(entry: Entry | undefined): boolean | undefined {
    if (entry === undefined) return undefined;
    const given = this.scalar(entry);
    if (given !== 'true' && given !== 'false') this.fault(entry.value ?? entry.key, 'value', 'it is true or false');
    return given === 'true';
  }
}
