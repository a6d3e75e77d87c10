import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'dissectors/**/*.test.ts', 'fixtures/**/*.test.ts', 'native-bindings/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
