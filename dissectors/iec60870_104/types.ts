import { Operation, type OperationCode } from '../../src/dissect/index.ts';

/** An information element (IEC 60870-5-101, 7.2.6) by its short name there; `at` and the sizes: ELEMENT_SIZES. */
export type Element =
  | 'siq' | 'diq' | 'vti' | 'bsi' | 'nva' | 'sva' | 'float' | 'bcr' | 'scd' | 'qds' | 'qdp'
  | 'sep' | 'spe' | 'oci' | 'sco' | 'dco' | 'rco' | 'qos' | 'coi' | 'qoi' | 'qcc' | 'qrp' | 'qpm' | 'qpa' | 'fbp' | 'tsc'
  | 'cp16' | 'cp24' | 'cp56'
  | 'nof' | 'nos' | 'lof' | 'frq' | 'srq' | 'scq' | 'lsq' | 'chs' | 'afq' | 'sof' | 'segment'; // biome-ignore format: by kind

/** Octets. `segment` states its own length in its first octet (7.3.6.6). */
export const ELEMENT_SIZES: Readonly<Record<Element, number>> = {
  siq: 1, diq: 1, vti: 1, bsi: 4, nva: 2, sva: 2, float: 4, bcr: 5, scd: 4, qds: 1, qdp: 1,
  sep: 1, spe: 1, oci: 1, sco: 1, dco: 1, rco: 1, qos: 1, coi: 1, qoi: 1, qcc: 1, qrp: 1, qpm: 1, qpa: 1, fbp: 2, tsc: 2,
  cp16: 2, cp24: 3, cp56: 7,
  nof: 2, nos: 1, lof: 3, frq: 1, srq: 1, scq: 1, lsq: 1, chs: 1, afq: 1, sof: 1, segment: 1,
}; // biome-ignore format: by kind

/** Who may send an ASDU of the type: `monitor` the controlled station, `control` the controlling one and, mirrored, the other. */
export type TypeDirection = 'monitor' | 'control' | 'both';

export interface TypeIdentification {
  /** The standard's label. */
  label: string;
  elements: readonly Element[];
  /** Octets of the elements of one object, without its address; a segment's own octets left out. */
  size: number;
  direction: TypeDirection;
  operation: OperationCode;
}

type Row = [number, string, TypeDirection, OperationCode, ...Element[]];
const { control, configure, diagnostics, file, read, report, restart, time_sync } = Operation;

/** IEC 60870-5-101, table 8 to 13, and IEC 60870-5-104, table 1: the types that the companion standard selects. */
const ROWS: readonly Row[] = [
  [1, 'M_SP_NA_1', 'monitor', report, 'siq'],
  [2, 'M_SP_TA_1', 'monitor', report, 'siq', 'cp24'],
  [3, 'M_DP_NA_1', 'monitor', report, 'diq'],
  [4, 'M_DP_TA_1', 'monitor', report, 'diq', 'cp24'],
  [5, 'M_ST_NA_1', 'monitor', report, 'vti', 'qds'],
  [6, 'M_ST_TA_1', 'monitor', report, 'vti', 'qds', 'cp24'],
  [7, 'M_BO_NA_1', 'monitor', report, 'bsi', 'qds'],
  [8, 'M_BO_TA_1', 'monitor', report, 'bsi', 'qds', 'cp24'],
  [9, 'M_ME_NA_1', 'monitor', report, 'nva', 'qds'],
  [10, 'M_ME_TA_1', 'monitor', report, 'nva', 'qds', 'cp24'],
  [11, 'M_ME_NB_1', 'monitor', report, 'sva', 'qds'],
  [12, 'M_ME_TB_1', 'monitor', report, 'sva', 'qds', 'cp24'],
  [13, 'M_ME_NC_1', 'monitor', report, 'float', 'qds'],
  [14, 'M_ME_TC_1', 'monitor', report, 'float', 'qds', 'cp24'],
  [15, 'M_IT_NA_1', 'monitor', report, 'bcr'],
  [16, 'M_IT_TA_1', 'monitor', report, 'bcr', 'cp24'],
  [17, 'M_EP_TA_1', 'monitor', report, 'sep', 'cp16', 'cp24'],
  [18, 'M_EP_TB_1', 'monitor', report, 'spe', 'qdp', 'cp16', 'cp24'],
  [19, 'M_EP_TC_1', 'monitor', report, 'oci', 'qdp', 'cp16', 'cp24'],
  [20, 'M_PS_NA_1', 'monitor', report, 'scd', 'qds'],
  [21, 'M_ME_ND_1', 'monitor', report, 'nva'],
  [30, 'M_SP_TB_1', 'monitor', report, 'siq', 'cp56'],
  [31, 'M_DP_TB_1', 'monitor', report, 'diq', 'cp56'],
  [32, 'M_ST_TB_1', 'monitor', report, 'vti', 'qds', 'cp56'],
  [33, 'M_BO_TB_1', 'monitor', report, 'bsi', 'qds', 'cp56'],
  [34, 'M_ME_TD_1', 'monitor', report, 'nva', 'qds', 'cp56'],
  [35, 'M_ME_TE_1', 'monitor', report, 'sva', 'qds', 'cp56'],
  [36, 'M_ME_TF_1', 'monitor', report, 'float', 'qds', 'cp56'],
  [37, 'M_IT_TB_1', 'monitor', report, 'bcr', 'cp56'],
  [38, 'M_EP_TD_1', 'monitor', report, 'sep', 'cp16', 'cp56'],
  [39, 'M_EP_TE_1', 'monitor', report, 'spe', 'qdp', 'cp16', 'cp56'],
  [40, 'M_EP_TF_1', 'monitor', report, 'oci', 'qdp', 'cp16', 'cp56'],
  [45, 'C_SC_NA_1', 'control', control, 'sco'],
  [46, 'C_DC_NA_1', 'control', control, 'dco'],
  [47, 'C_RC_NA_1', 'control', control, 'rco'],
  [48, 'C_SE_NA_1', 'control', control, 'nva', 'qos'],
  [49, 'C_SE_NB_1', 'control', control, 'sva', 'qos'],
  [50, 'C_SE_NC_1', 'control', control, 'float', 'qos'],
  [51, 'C_BO_NA_1', 'control', control, 'bsi'],
  [58, 'C_SC_TA_1', 'control', control, 'sco', 'cp56'],
  [59, 'C_DC_TA_1', 'control', control, 'dco', 'cp56'],
  [60, 'C_RC_TA_1', 'control', control, 'rco', 'cp56'],
  [61, 'C_SE_TA_1', 'control', control, 'nva', 'qos', 'cp56'],
  [62, 'C_SE_TB_1', 'control', control, 'sva', 'qos', 'cp56'],
  [63, 'C_SE_TC_1', 'control', control, 'float', 'qos', 'cp56'],
  [64, 'C_BO_TA_1', 'control', control, 'bsi', 'cp56'],
  [70, 'M_EI_NA_1', 'monitor', report, 'coi'],
  [100, 'C_IC_NA_1', 'control', read, 'qoi'],
  [101, 'C_CI_NA_1', 'control', read, 'qcc'],
  [102, 'C_RD_NA_1', 'control', read],
  [103, 'C_CS_NA_1', 'both', time_sync, 'cp56'],
  [104, 'C_TS_NA_1', 'control', diagnostics, 'fbp'],
  [105, 'C_RP_NA_1', 'control', restart, 'qrp'],
  [106, 'C_CD_NA_1', 'control', time_sync, 'cp16'],
  [107, 'C_TS_TA_1', 'control', diagnostics, 'tsc', 'cp56'],
  [110, 'P_ME_NA_1', 'control', configure, 'nva', 'qpm'],
  [111, 'P_ME_NB_1', 'control', configure, 'sva', 'qpm'],
  [112, 'P_ME_NC_1', 'control', configure, 'float', 'qpm'],
  [113, 'P_AC_NA_1', 'control', configure, 'qpa'],
  [120, 'F_FR_NA_1', 'both', file, 'nof', 'lof', 'frq'],
  [121, 'F_SR_NA_1', 'both', file, 'nof', 'nos', 'lof', 'srq'],
  [122, 'F_SC_NA_1', 'both', file, 'nof', 'nos', 'scq'],
  [123, 'F_LS_NA_1', 'both', file, 'nof', 'nos', 'lsq', 'chs'],
  [124, 'F_AF_NA_1', 'both', file, 'nof', 'nos', 'afq'],
  [125, 'F_SG_NA_1', 'both', file, 'nof', 'nos', 'segment'],
  [126, 'F_DR_TA_1', 'monitor', file, 'nof', 'lof', 'sof', 'cp56'],
  [127, 'F_SC_NB_1', 'both', file, 'nof', 'cp56', 'cp56'],
];

/** By type identification; holes are types that the standard reserves or leaves to special use. */
export const TYPES: readonly (TypeIdentification | undefined)[] = (() => {
  const types: (TypeIdentification | undefined)[] = new Array(256).fill(undefined);
  for (const [id, label, direction, operation, ...elements] of ROWS) {
    const size = elements.reduce((sum, element) => sum + ELEMENT_SIZES[element], 0);
    types[id] = { label, elements, size, direction, operation };
  }
  return types;
})();

export const TYPE_NAMES: Readonly<Record<number, string>> = Object.fromEntries(ROWS.map(([id, label]) => [id, label]));

/** Cause of transmission, 7.2.3. */
export const Cause = {
  activation: 6,
  activation_confirmation: 7,
  deactivation: 8,
  deactivation_confirmation: 9,
  activation_termination: 10,
} as const;

export const CAUSE_NAMES: Readonly<Record<number, string>> = {
  1: 'periodic, cyclic',
  2: 'background scan',
  3: 'spontaneous',
  4: 'initialized',
  5: 'request or requested',
  6: 'activation',
  7: 'activation confirmation',
  8: 'deactivation',
  9: 'deactivation confirmation',
  10: 'activation termination',
  11: 'return information caused by a remote command',
  12: 'return information caused by a local command',
  13: 'file transfer',
  14: 'authentication',
  15: 'maintenance of authentication session key',
  16: 'maintenance of user role and update key',
  20: 'interrogated by station interrogation',
  ...Object.fromEntries(Array.from({ length: 16 }, (_, i) => [21 + i, `interrogated by group ${i + 1} interrogation`])),
  37: 'requested by general counter request',
  ...Object.fromEntries(Array.from({ length: 4 }, (_, i) => [38 + i, `requested by group ${i + 1} counter request`])),
  44: 'unknown type identification',
  45: 'unknown cause of transmission',
  46: 'unknown common address of ASDU',
  47: 'unknown information object address',
};

/** Qualifier of interrogation, 7.2.6.22. */
export const INTERROGATION_NAMES: Readonly<Record<number, string>> = {
  20: 'station interrogation',
  ...Object.fromEntries(Array.from({ length: 16 }, (_, i) => [21 + i, `interrogation of group ${i + 1}`])),
};

/** Qualifier of reset process, 7.2.6.27. */
export const RESET_NAMES: Readonly<Record<number, string>> = {
  1: 'general reset of process',
  2: 'reset of pending information with time tag of the event buffer',
};

/** Cause of initialization, 7.2.6.21, without its bit 8. */
export const INITIALIZATION_NAMES: Readonly<Record<number, string>> = {
  0: 'local power switch on',
  1: 'local manual reset',
  2: 'remote reset',
};

/** Double-point information, 7.2.6.2. */
export const DOUBLE_POINT_NAMES: Readonly<Record<number, string>> = {
  0: 'indeterminate or intermediate',
  1: 'OFF',
  2: 'ON',
  3: 'indeterminate',
};

/** Double and regulating step commands, 7.2.6.16 and 7.2.6.17: 0 and 3 are not permitted. */
export const DOUBLE_COMMAND_NAMES: Readonly<Record<number, string>> = { 1: 'OFF', 2: 'ON' };
export const STEP_COMMAND_NAMES: Readonly<Record<number, string>> = { 1: 'next step lower', 2: 'next step higher' };
