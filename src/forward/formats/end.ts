/** `address:port`, the address in brackets where it is IPv6; the MAC address where there is no other. */
export function endText(ip: string, mac: string, port: number): string {
  if (ip === '') return mac;
  if (port === 0) return ip;
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}
