// npm run bundle: set up what is not, then make the offline installer, dist/ot-sensor_<version>_<architecture>.deb.
// --folder DIR makes the folder of the version alone, unpacked: what an update bundle is made of.
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { prepare, ROOT } from '../prepare.mjs';
import { makeDebianPackage } from './debian-package.mjs';
import { makeVersionFolder } from './version-folder.mjs';

prepare();
try {
  const { values } = parseArgs({ options: { folder: { type: 'string' } } });
  // A relative path means the folder the user stands in; npm has changed to the checkout.
  const folder = values.folder && path.resolve(process.env.INIT_CWD ?? process.cwd(), values.folder);
  if (folder && fs.existsSync(folder)) throw new Error(`${folder} is there already; name one that is not`);
  if (folder) makeVersionFolder({ root: ROOT, folder });
  const file = folder || makeDebianPackage({ root: ROOT, out: path.join(ROOT, 'dist') });
  const size = fs.statSync(file).isFile() ? ` (${(fs.statSync(file).size / 1e6).toFixed(1)} MB)` : '';
  process.stdout.write(`${file}${size}\n`);
} catch (error) {
  process.stderr.write(`ot-sensor: the package was not made: ${error.message}\n`);
  process.exitCode = 2;
}
