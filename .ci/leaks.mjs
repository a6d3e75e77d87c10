// Reads the sanitizers' reports: leaks.mjs ADDON REPORT…. Node keeps much to its end, so a leak counts only where the memory was asked for
// by the addon or by libpcap for it (whose frames cannot be followed further): the first frame that is theirs or Node's is theirs. A
// them apart, since below each call of the addon there is Node. Everything else that is reported counts.
import fs from 'node:fs';

const [addon, ...reports] = process.argv.slice(2);
const faults = [];
let read = 0;
let others = 0;
for (const report of reports) {
  if (!fs.existsSync(report)) continue;
  read++;
  const blocks = fs.readFileSync(report, 'utf8').split(/\n\s*\n/);
  for (const block of blocks) {
    const leak = /(?:Direct|Indirect) leak of .*/.exec(block);
    if (leak !== null) {
      if (isOurs(block)) faults.push(`leaked: ${block}`);
      else others++;
    } else if (/runtime error|ERROR: AddressSanitizer/.test(block)) faults.push(block);
    else if (/LeakSanitizer has encountered a fatal error/.test(block)) faults.push(block);
  }
}
for (const fault of faults) process.stderr.write(`sanitize: ${fault}\n`);
if (read === 0 || others === 0) {
  process.stderr.write('sanitize: not even a leak of Node itself was reported: leaks were not looked for\n');
  process.exit(1);
}
process.stdout.write(`sanitize: ${read} programs, ${faults.length} faults of the addon, ${others} leaks of Node\n`);
process.exit(faults.length > 0 ? 1 : 0);

/** An addon that was unloaded has no name any more; what V8 compiled has none either, but lies below frames of Node. */
function isOurs(block) {
  for (const line of block.split('\n')) {
    if (!/^\s*#\d+ /.test(line)) continue;
    if (line.includes(addon) || line.includes('pcap.cc') || line.includes('leaking.cc') || line.includes('<unknown module>'))
      return true;
    if (/\/node\+0x|\/bin\/node\b| in node::| in v8::/.test(line)) return false;
  }
  return false;
}
