import { readFileSync, writeFileSync } from 'node:fs';
import { dissectors } from '../../dissectors/index.ts';
import { CATALOGUE } from '../detect/catalogue.ts';
import type { AnyDissector, Carrier } from '../dissect/index.ts';

/** README's generated tables: protocols from the dissectors' declarations, alerts from the catalogue. `npm run readme` rewrites them. */
export const SECTIONS: Readonly<Record<string, () => string>> = { protocols, alerts };

/** The text with each section's content between its markers replaced. */
export function regenerated(text: string): string {
  let result = text;
  for (const [name, content] of Object.entries(SECTIONS)) {
    const pattern = new RegExp(`(<!-- ${name} -->\\n)[^]*?(<!-- /${name} -->)`);
    if (!pattern.test(result)) throw new Error(`README.md has no section <!-- ${name} -->`);
    result = result.replace(pattern, (_, open: string, close: string) => `${open}${content()}${close}`);
  }
  return result;
}

function protocols(): string {
  const rows = dissectors.map((dissector) => {
    const fields = dissector.records.reduce((sum, record) => sum + record.fieldNames.length, 0);
    const { name, title, specification } = dissector;
    return `| \`${name}\` | ${title} | ${carriers(dissector)} | ${dissector.records.length} | ${fields} | ${specification} |\n`;
  });
  return `| name | protocol | carried by | records | fields | specification |\n|---|---|---|---:|---:|---|\n${rows.join('')}`;
}

function carriers({ carriers }: AnyDissector): string {
  const text = (carrier: Carrier) => {
    switch (carrier.layer) {
      case 'tcp':
      case 'udp':
        return `${carrier.layer}/${carrier.port}`;
      case 'ethertype':
        return `EtherType 0x${carrier.ethertype.toString(16).padStart(4, '0')}`;
      case 'within':
        return `\`${carrier.parent}\``;
    }
  };
  return carriers.map(text).join(', ');
}

function alerts(): string {
  const rows = CATALOGUE.map(
    ({ kind, title, severity, techniques }) => `| \`${kind}\` | ${severity} | ${techniques.join(', ')} | ${title} |\n`,
  );
  return `| kind | severity | technique | means |\n|---|---|---|---|\n${rows.join('')}`;
}

if (process.argv[2] === '--write') {
  const file = process.argv[3];
  writeFileSync(file, regenerated(readFileSync(file, 'utf8')));
}
