/** The dissector contract: all that `dissectors/` may import. */
export { ATTRIBUTES, type Attribute, Conversation, type Identity, type Side } from './conversation.ts';
export {
  type AnyDissector,
  type Carrier,
  type Dissector,
  defineDissector,
  type Emit,
  ethertype,
  type Framing,
  Match,
  type MatchCode,
  tcp,
  udp,
  within,
} from './dissector.ts';
export { ipv4Text, ipv6Text } from './json.ts';
export { Operation, type OperationCode, type OperationName, Role, type RoleCode, Status, type StatusCode } from './operation.ts';
export { Pending } from './pending.ts';
export { Reader, type Span, span, spanLength, spanStart, spanText } from './reader.ts';
export * from './record.ts';
export { Row } from './row.ts';
