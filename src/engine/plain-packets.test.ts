import { expect, test } from 'vitest';
import { BatchWriter, PacketRing } from '../capture/batch.ts';
import { SequenceSource } from '../capture/replay.ts';
import { fixture } from '../cli/testing.ts';
import { Decoder } from '../decode/decode.ts';
import { Decoded, Packet } from '../decode/packet.ts';
import { shardOf, shardOfIpv4 } from '../flow/flow-table.ts';

// A shard skips plain packets of others undecoded: a packet must belong to the same shard by its fixed places as when it is decoded.

const CAPTURES = [
  'modbus/modbus-serial-gateway.pcap',
  'modbus/pymodbus-functions.pcap',
  's7comm/snap7-client.pcap',
  'dnp3/opendnp3.pcap',
  'dhcp/dnsmasq.pcap',
  'arp/resolve.pcap',
  'goose/libiec61850.pcap',
];

test('plain packets belong to the same shard, decoded or not', async () => {
  let plain = 0;
  let others = 0;
  for (const capture of CAPTURES) {
    const ring = new PacketRing();
    const writer = new BatchWriter(ring);
    const source = await SequenceSource.open([fixture(capture)]);
    for (;;) {
      const used = await source.fill(writer);
      if (used === null) break;
      writer.next(used);
    }
    source.close();
    const decoder = new Decoder(ring);
    const packet = new Packet();
    for (let frame = 1; frame < writer.first_frame; frame++) {
      const ip = decoder.plainHeader(frame);
      const decoded = decoder.decode(frame, packet);
      if (ip < 0) {
        others++;
        continue;
      }
      plain++;
      expect([decoded, packet.network_offset, packet.tunnels]).toEqual([Decoded.ok, ip, 0]);
      for (const shards of [2, 3, 4, 64]) expect(shardOfIpv4(ring.bytes, ip, shards)).toBe(shardOf(packet, shards));
    }
  }
  expect(plain).toBeGreaterThan(100);
  expect(others).toBeGreaterThan(20);
});
