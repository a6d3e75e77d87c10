import dgram from 'node:dgram';
import ipaddr from 'ipaddr.js';

/** An address, or a network (10.0.0.0/8). */
export const isHostOrNetwork = (text: string): boolean => ipaddr.isValid(text) || ipaddr.isValidCIDR(text);

/** Whether the address is one of the hosts, or in one of the networks; whichever, where there are none. */
export function isAllowed(address: string, allowed: readonly string[]): boolean {
  if (allowed.length === 0) return true;
  // Of a socket for both families an IPv4 address is written as IPv6 (RFC 4291, 2.5.5.2).
  const from = ipaddr.process(address.replace(/%.*$/, ''));
  return allowed.some((one) => {
    const [network, length] = one.includes('/')
      ? ipaddr.parseCIDR(one)
      : ([ipaddr.process(one), ipaddr.process(one).kind() === 'ipv4' ? 32 : 128] as const);
    return network.kind() === from.kind() && from.match([network, length] as [ipaddr.IPv4, number]);
  });
}

/**
 * UDP sockets that hear only the hosts that are allowed; what comes from others is told of, and nobody looks into it. In the place of
 * `node:dgram` for whoever makes sockets itself.
 */
export const allowedHostsOnly = (allowed: readonly string[], refused: () => void) => ({
  createSocket(type: dgram.SocketType): dgram.Socket {
    const socket = dgram.createSocket(type);
    const on = socket.on.bind(socket) as (event: string, handler: (...args: never[]) => void) => dgram.Socket;
    socket.on = (event: string, handler: (...args: never[]) => void): dgram.Socket => {
      if (event !== 'message') return on(event, handler);
      return on(event, ((bytes: Buffer, from: dgram.RemoteInfo) => {
        if (isAllowed(from.address, allowed)) (handler as (bytes: Buffer, from: dgram.RemoteInfo) => void)(bytes, from);
        else refused();
      }) as never);
    };
    return socket;
  },
});
