import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type VendorOf, vendorLookup } from '../inventory/vendor.ts';

/**
 * The packaged registry of IEEE assignments (oui-data), read and indexed when the first MAC is asked for: about 20 ms then, nothing
 * at start. Where the package cannot be read every vendor is ''.
 */
export function packagedVendors(): VendorOf {
  let lookup: VendorOf | null = null;
  return (mac) => {
    lookup ??= open();
    return lookup(mac);
  };
}

function open(): VendorOf {
  try {
    return vendorLookup(readFileSync(createRequire(import.meta.url).resolve('oui-data')));
  } catch {
    return () => '';
  }
}
