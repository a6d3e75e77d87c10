/** What the history says of a sensor that could not keep up. */
export const OVERLOAD_EVENTS = {
  began: { kind: 'overload_began', title: 'The sensor cannot keep up and leaves out' },
  ended: { kind: 'overload_ended', title: 'The sensor keeps up again' },
} as const;
