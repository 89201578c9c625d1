import{a}from"/explorer/chunk-2QQHTZNL.js";import"/explorer/chunk-A3LXX7ZO.js";import"/explorer/chunk-DQ4HEGN2.js";export default a();
