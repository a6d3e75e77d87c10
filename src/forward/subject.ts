/** A subject with places for site and sensor: words separated by dots, none empty. */
export const SUBJECT_WORDS = /^(?:[\w-]|\{site\}|\{sensor\})+(?:\.(?:[\w-]|\{site\}|\{sensor\})+)*$/;

/** A name as one word of a NATS subject: dots, spaces and wildcards become `-`. */
const word = (name: string): string => name.replace(/[^A-Za-z0-9_-]+/g, '-') || 'default';

export const subjectOf = (pattern: string, site: string, sensor: string): string =>
  pattern.replaceAll('{site}', word(site)).replaceAll('{sensor}', word(sensor));
