import { isProfinet, shown, unitsOf } from './attributes.ts';
import type { Conduct, Deed } from './classify.ts';
import type { Device } from './entities.ts';

// How a device behaves: what its type is told by.

export const isRouter = (device: Device) => device.redundancy !== '' || device.faces.some((face) => face.router);

export function deedOf({ deeds }: Device, ip: string, app_proto: string, role: Deed['role']): Deed | undefined {
  for (const deed of deeds) if (deed.ip === ip && deed.app_proto === app_proto && deed.role === role) return deed;
  return undefined;
}

export function conductOf(device: Device): Conduct {
  const units = [...unitsOf(device)]
    .sort((a, b) => (a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : a.number - b.number))
    .map((part) => part.part);
  let modules = 0;
  for (const part of device.parts.values()) if (part.kind === 'module') modules++;
  return {
    deeds: device.deeds,
    router: isRouter(device),
    redundancy: device.redundancy,
    units,
    modules,
    device_type: shown(device, 'device_type'),
    profinet: isProfinet(device),
    model: shown(device, 'model'),
    order_code: shown(device, 'order_code'),
    has_name: shown(device, 'name') !== '',
  };
}
