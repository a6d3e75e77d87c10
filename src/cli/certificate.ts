import fs from 'node:fs';
import { type Command, Option } from 'commander';
import { Certificate, type CertificateFacts } from '../appliance/certificate.ts';
import { dataOption, timeText } from './data.ts';

interface Arguments {
  data: string;
  organisation: string;
  cert: string;
  key?: string;
  passphraseFile?: string;
}

export function register(program: Command): void {
  const certificate = program
    .command('certificate')
    .description("the certificate of the API; a new one holds from the service's next start on");
  const command = (words: string, description: string) =>
    certificate.command(words).description(description).addOption(dataOption());
  command('show', 'the one in use').action(({ data }: Arguments) => print(new Certificate(data).facts()));
  command('self-sign <name...>', 'make a new one for these names and addresses').action(
    async (names: string[], { data }: Arguments) => {
      const own = new Certificate(data);
      await own.selfSign(names);
      print(own.facts());
    },
  );
  command('request <name...>', 'make a new key, and print a request (PKCS #10) for your authority')
    .option('--organisation <name>', 'for the subject', '')
    .action(async (names: string[], { data, organisation }: Arguments) => {
      process.stdout.write(`${await new Certificate(data).request(names, organisation)}\n`);
    });
  command('import', 'take the certificate that your authority made')
    .requiredOption('--cert <file>', 'certificate and chain, PEM, the own one first')
    .option('--key <file>', 'its key, PEM; that of the request where left out')
    .addOption(new Option('--passphrase-file <file>', 'its first line opens the key'))
    .action(importCertificate);
  certificate.addHelpText(
    'after',
    `
Example:
  $ ot-sensor certificate request sensor-1.plant.example 192.0.2.10 > sensor-1.csr
  $ ot-sensor certificate import --cert sensor-1-with-chain.pem`,
  );
}

function importCertificate({ data, cert, key, passphraseFile }: Arguments): void {
  const read = (file: string) => fs.readFileSync(file, 'utf8');
  const passphrase = passphraseFile === undefined ? '' : read(passphraseFile).split(/\r?\n/, 1)[0];
  print(new Certificate(data).import(read(cert), key === undefined ? '' : read(key), passphrase));
}

function print({ names, valid_from_ms, expires_ms, ...facts }: CertificateFacts): void {
  const lines = Object.entries({
    ...facts,
    names: names.join(', '),
    valid_from: timeText(valid_from_ms),
    expires: timeText(expires_ms),
  });
  for (const [name, value] of lines) process.stdout.write(`${name.padEnd(20)}${value}\n`);
}
