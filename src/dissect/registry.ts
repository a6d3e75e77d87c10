import type { AnyDissector, Carrier } from './dissector.ts';

/** The dissectors, in recognition order, and the lookup tables compiled from their declarations. */
export class Registry {
  readonly dissectors: readonly AnyDissector[];
  /** Anomaly names by dissector; a name's place is its bit in `row.anomalies`. */
  readonly anomalyNames: readonly (readonly string[])[];
  private readonly byName = new Map<string, number>();
  private readonly byTcpPort = new Map<number, number[]>();
  private readonly byUdpPort = new Map<number, number[]>();
  private readonly byEthertype = new Map<number, number>();
  private readonly byParent: number[][];
  private readonly onTcp: number[] = [];
  private readonly onUdp: number[] = [];

  constructor(dissectors: readonly AnyDissector[]) {
    this.dissectors = dissectors;
    this.anomalyNames = dissectors.map((d) => Object.keys(d.anomalies));
    this.byParent = dissectors.map(() => []);
    dissectors.forEach((dissector, index) => {
      check(dissector);
      if (this.byName.has(dissector.name)) throw new Error(`two dissectors are called ${dissector.name}`);
      this.byName.set(dissector.name, index);
    });
    dissectors.forEach((dissector, index) => {
      for (const carrier of dissector.carriers) this.enter(dissector, index, carrier);
    });
  }

  private enter(dissector: AnyDissector, index: number, carrier: Carrier): void {
    switch (carrier.layer) {
      case 'tcp':
        append(this.byTcpPort, carrier.port, index);
        if (!this.onTcp.includes(index)) this.onTcp.push(index);
        break;
      case 'udp':
        append(this.byUdpPort, carrier.port, index);
        if (!this.onUdp.includes(index)) this.onUdp.push(index);
        break;
      case 'ethertype':
        this.byEthertype.set(carrier.ethertype, index);
        break;
      case 'within': {
        const parent = this.byName.get(carrier.parent);
        if (parent === undefined) throw new Error(`${dissector.name} is within ${carrier.parent}, which no dissector is called`);
        this.byParent[parent].push(index);
      }
    }
  }

  /** The index of a dissector by its name, or -1. */
  indexOf(name: string): number {
    return this.byName.get(name) ?? -1;
  }
  /** Those that name one of the two ports, in order. */
  onPort(isTcp: boolean, port: number): readonly number[] {
    return (isTcp ? this.byTcpPort : this.byUdpPort).get(port) ?? NONE;
  }
  /** All that can be found on TCP (or UDP), in recognition order. */
  onTransport(isTcp: boolean): readonly number[] {
    return isTcp ? this.onTcp : this.onUdp;
  }
  onEthertype(ethertype: number): number {
    return this.byEthertype.get(ethertype) ?? -1;
  }
  childrenOf(index: number): readonly number[] {
    return this.byParent[index];
  }
}

const NONE: readonly number[] = [];

function append(map: Map<number, number[]>, key: number, index: number): void {
  const known = map.get(key);
  if (known) known.push(index);
  else map.set(key, [index]);
}

function check(dissector: AnyDissector): void {
  const { name, carriers, framing, anomalies } = dissector;
  if (!/^[a-z][a-z0-9_-]*$/.test(name)) throw new Error(`dissector "${name}": not a protocol's short name`);
  if (carriers.some((c) => c.layer === 'tcp') && !framing) throw new Error(`dissector ${name} is on TCP and has no framing`);
  if (Object.keys(anomalies).length > 31) throw new Error(`dissector ${name} names more than 31 anomalies`);
  for (const anomaly of Object.keys(anomalies))
    if (!/^[a-z][a-z0-9_]*$/.test(anomaly)) throw new Error(`dissector ${name}: anomaly "${anomaly}" is not snake_case`);
}
