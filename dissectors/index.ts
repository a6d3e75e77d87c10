import type { AnyDissector } from '../src/dissect/index.ts';
import arp from './arp/arp.ts';
import cotp from './cotp/cotp.ts';
import dhcp from './dhcp/dhcp.ts';
import dnp3 from './dnp3/dnp3.ts';
import iec60870_104 from './iec60870_104/iec60870_104.ts';
import lldp from './lldp/lldp.ts';
import modbus from './modbus/modbus.ts';
import mbrtu from './modbus/modbus-rtu.ts';
import s7comm from './s7comm/s7comm.ts';
import tpkt from './tpkt/tpkt.ts';

/** What the sensor understands, one line a protocol. The order is the order of recognition: the surest signatures first. */
export const dissectors: readonly AnyDissector[] = [dnp3, iec60870_104, tpkt, cotp, s7comm, modbus, mbrtu, arp, lldp, dhcp];
