import { randomInt } from 'node:crypto';
import argon2 from 'argon2';

/** OWASP's recommendation for Argon2id: 19 MiB, two passes, one lane; little enough for a small appliance under attack. */
const COST = { type: argon2.argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
export const MAX_PASSWORD_LENGTH = 256;

export const hashPassword = (password: string): Promise<string> => argon2.hash(password, COST);

let nobody: Promise<string> | null = null;

/** Takes as long where there is no such user (`hash` null): names cannot be guessed by the time an answer takes. */
export async function passwordFits(hash: string | null, password: string): Promise<boolean> {
  if (password.length > MAX_PASSWORD_LENGTH) return false;
  nobody ??= hashPassword(randomPassword());
  const fits = await argon2.verify(hash ?? (await nobody), password);
  return hash !== null && fits;
}

/** Why a password is refused; '' where it is good enough. */
export function passwordFault(
  password: string,
  name: string,
  policy: { password_length: number; password_classes: number },
): string {
  const { password_length, password_classes } = policy;
  if (password.length < password_length) return `it has fewer than ${password_length} characters`;
  if (password.length > MAX_PASSWORD_LENGTH) return `it has more than ${MAX_PASSWORD_LENGTH} characters`;
  if (/\p{Cc}/u.test(password)) return 'it has control characters';
  if (password.toLowerCase().includes(name.toLowerCase())) return "it contains the user's name";
  const classes = [/\p{Ll}/u, /\p{Lu}/u, /\p{Nd}/u, /[^\p{L}\p{Nd}]/u].filter((one) => one.test(password)).length;
  if (password.length < 20 && classes < password_classes)
    return `it has only ${classes} of lower case, upper case, digits and others; ${password_classes} are needed, or 20 characters`;
  if (new Set(password).size < 6) return 'it repeats a few characters';
  return '';
}

/** 20 characters of an alphabet in which none is taken for another: 114 bits. */
export function randomPassword(): string {
  const alphabet = 'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789';
  for (;;) {
    const password = Array.from({ length: 20 }, () => alphabet[randomInt(alphabet.length)]).join('');
    if (passwordFault(password, '\0', { password_length: 20, password_classes: 3 }) === '') return password;
  }
}
