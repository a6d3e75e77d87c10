import fs from 'node:fs';
import os from 'node:os';

/** A network interface as the kernel has it, whatever captures. */
export interface Port {
  name: string;
  mac: string | null;
  mtu: number | null;
  /** Switched on. */
  up: boolean;
  /** Has a link; null where that is not known, as of an interface that is off. */
  link: boolean | null;
  /** Mbit/s; null where it is not known. */
  speed: number | null;
  /** A mirror port should have none. */
  addresses: string[];
  loopback: boolean;
}

const IFF_UP = 1;
const IFF_LOOPBACK = 8;
const FOLDER = '/sys/class/net';

/** The network interfaces of this machine, by name. Needs no permission. */
export function listPorts(): Port[] {
  let names: string[];
  try {
    names = fs.readdirSync(FOLDER);
  } catch {
    return [];
  }
  const addresses = os.networkInterfaces();
  return names
    .filter((name) => read(name, 'ifindex') !== '')
    .sort()
    .map((name) => {
      const flags = Number(read(name, 'flags'));
      const mac = read(name, 'address');
      const speed = Number(read(name, 'speed') || -1);
      const carrier = read(name, 'carrier');
      return {
        name,
        mac: /^[\da-f]{2}(:[\da-f]{2}){5}$/.test(mac) && mac !== '00:00:00:00:00:00' ? mac : null,
        mtu: Number(read(name, 'mtu')) || null,
        up: (flags & IFF_UP) !== 0,
        link: carrier === '' ? null : carrier === '1',
        speed: speed > 0 ? speed : null,
        addresses: (addresses[name] ?? []).map(({ address }) => address),
        loopback: (flags & IFF_LOOPBACK) !== 0,
      };
    });
}

/** '' where it cannot be read: what an interface that is off does not know is an error of reading. */
function read(name: string, file: string): string {
  try {
    return fs.readFileSync(`${FOLDER}/${name}/${file}`, 'utf8').trim();
  } catch {
    return '';
  }
}
