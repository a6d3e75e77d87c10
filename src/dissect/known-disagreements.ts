/** Where tshark 4.0 says something else than we do, and why it stays so. The oracle test refuses an entry that no longer disagrees. */
export interface KnownDisagreement {
  /** The capture: its path below the folder of captures, or a pattern of such paths. */
  file: string | RegExp;
  /** Numbers of the packets, or all that are found where a whole connection is concerned. */
  frames: readonly number[] | 'all';
  /** Wireshark's name of the field, or a pattern of names. */
  field: string | RegExp;
  /** What decides, with the clause of the specification. */
  reason: string;
}

export const KNOWN_DISAGREEMENTS: readonly KnownDisagreement[] = [
  {
    file: 'mms/otsec__mms.pcapng',
    frames: 'all',
    field: /^cotp\./,
    reason:
      'The mirror gives every segment three times. What has been received is not received again (RFC 9293, 3.10.7.4); tshark ' +
      'reads a copy anew where it takes it for a fast retransmission.',
  },
  {
    file: 'iccp/wireshark-iccp-dissect__iccp-fictional.pcap',
    frames: 'all',
    field: /^cotp\./,
    reason:
      'A generated capture in which the SYN does not count: the first data byte of each connection has the number of the SYN itself, ' +
      'so that it is old (RFC 9293, 3.4: the SYN occupies the first sequence number) and the first TPKT lacks its first byte.',
  },
  {
    file: 's7comm/testing_tools__s7_all.pcap',
    frames: [421, 424],
    field: /^s7comm\.blockinfo\.(author|family)$/,
    reason:
      'Eight bytes of a system block that are no text: tshark leaves out NUL and what follows it, and escapes control characters.',
  },
  {
    file: 'lldp/arkime__wireshark-lldp.pcap',
    frames: [1],
    field: 'lldp.time_to_live',
    reason: 'A second Time To Live TLV, which an LLDPDU must not have (IEEE 802.1AB-2016, 9.2.7.7.1): the first one stands.',
  },
  {
    file: 'dnp3/DNP3__dnp3dataset_capture.pcap',
    frames: [785, 2728, 4238, 4454, 4661, 5529, 6831, 8345],
    field: /^dnp3\.al\./,
    reason:
      'tshark joins a transport segment of an earlier TCP connection with one of the next, as it looks for fragments by addresses and ' +
      'transport sequence alone. A segment with FIR begins a fragment and discards what was there (IEEE 1815-2012, 8.2).',
  },
  {
    file: 'dnp3/icsnpp-dnp3__dnp3_example.pcap',
    frames: [311],
    field: /^dnp3\.al\./,
    reason:
      'tshark joins a segment that is a fragment by itself (FIR and FIN) with one of a hundred packets before, and finds that they ' +
      'contradict each other. FIR begins a fragment and discards what was there (IEEE 1815-2012, 8.2).',
  },
  {
    file: 'dnp3/otsec__dnp3.pcap',
    frames: [187, 211],
    field: /^dnp3\.al\./,
    reason:
      'Frames of several recordings in mixed order and with copies: segments are missing where tshark puts the fragment together by ' +
      'number. The sequence goes up by one; any other segment ends the fragment (IEEE 1815-2012, 8.2).',
  },
  {
    file: 'dnp3/Shark2Pit__dnp3.pcap',
    frames: [7],
    field: /^dnp3\./,
    reason:
      "A scanner's segment whose second half is shifted by four bits. Where 05 64 comes up in it by chance, the header's CRC is wrong: " +
      'that is no frame (IEEE 1815-2012, 9.2.4.3).',
  },
  {
    file: 'dnp3/ICS-Pcaps__dnpOcteString.pcap',
    frames: [52, 111],
    field: 'dnp3.al.obj',
    reason:
      'Octet string events, group 111: the variation is the length of the string (IEEE 1815-2012, annex A) and stands so on the wire; ' +
      'tshark puts 0 in its place.',
  },
  {
    file: 'fixtures/modbus/case-23-text-with-a-fitting-header.pcap',
    frames: [12, 13],
    field: /^(mbtcp|modbus)\./,
    reason:
      "Text with zeros where MBAP has its protocol identifier: function code 32 is none (V1.1b3, 5). tshark takes the port's word.",
  },
  {
    file: 'fixtures/s7comm/snap7-client.pcap',
    frames: [39],
    field: 's7comm.data.length',
    reason: 'The length of an item that failed (return code 05): 4 on the wire. tshark does not read it and says 0.',
  },
  {
    file: 'fixtures/dnp3/case-34-many-headers-and-points.pcap',
    frames: [4],
    field: /^dnp3\.al\.obj/,
    reason: 'Six hundred object headers in one fragment: ours end at 256 and say that there were more.',
  },
  {
    file: 'fixtures/dnp3/case-35-65-segments-without-end.pcap',
    frames: [70],
    field: /^dnp3\.al\./,
    reason:
      'tshark joins segments of the fragment that never ended with the next one. A segment with FIR begins a fragment and discards ' +
      'what was there (IEEE 1815-2012, 8.2).',
  },
  {
    file: 'fixtures/dnp3/case-46-counts-without-objects.pcap',
    frames: [11],
    field: 'dnp3.al.obj',
    reason:
      'Range code 3 is a start and a stop address of one octet each (IEEE 1815-2012, 4.2.2.7); tshark reads one, and the next object ' +
      'header an octet early.',
  },
  {
    file: 'fixtures/dnp3/case-46-counts-without-objects.pcap',
    frames: [13],
    field: 'dnp3.al.range.quantity',
    reason:
      'Object prefix code 7 is reserved (IEEE 1815-2012, 4.2.2.7): what stands behind the qualifier is not known, and not read.',
  },
  {
    file: 'fixtures/dnp3/case-47-file-transport-and-status.pcap',
    frames: [7],
    field: 'dnp3.al.file.data',
    reason:
      'File transport status, group 70 variation 6, ends with optional text, not with data of the file (IEEE 1815-2012, annex A).',
  },
];
