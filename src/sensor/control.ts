import fs from 'node:fs';
import path from 'node:path';
import { isBeingWritten } from '../store/writer.ts';

/** In the data directory, while a sensor runs on it. */
const PID_FILE = 'sensor.pid';
/** In the data directory: the zone policy that is managed over the API. */
export const MANAGED_ZONES = 'zones.yaml';

/** So that a service beside the sensor can tell it of new settings. Gives what takes it away again. */
export function announceSensor(directory: string): () => void {
  const file = path.join(directory, PID_FILE);
  fs.writeFileSync(file, `${process.pid}\n`);
  return () => fs.rmSync(file, { force: true });
}

/** SIGHUP: settings, zones and exclusions are read again. False where no sensor runs on this directory, or it is somebody else's. */
export function signalSensor(directory: string, signal: 'SIGHUP' | 'SIGTERM'): boolean {
  try {
    // A number alone may be another process's by now: the lock says that there is a sensor.
    if (!isBeingWritten(directory)) return false;
    const pid = Number(fs.readFileSync(path.join(directory, PID_FILE), 'utf8'));
    return Number.isSafeInteger(pid) && pid > 1 && process.kill(pid, signal);
  } catch {
    return false;
  }
}
